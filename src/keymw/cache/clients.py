"""How Redis clients are made: short timeouts, no retries, nothing clever of redis-py's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import redis
    import redis.asyncio
    from redis.backoff import NoBackoff
    from redis.maint_notifications import MaintNotificationsConfig
    from redis.retry import Retry
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"A redis= URL needs the client that comes with keymw[redis] ({missing}): "
        'pip install "keymw[redis]"'
    ) from missing

from redis.asyncio.connection import parse_url as parse_async_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.connection import parse_url

from keymw.cache.breaker import Breaker
from keymw.cache.redis import RedisCache, at_once, awaited
from keymw.cache.stream import RedisStream

if TYPE_CHECKING:
    from keymw.clock import Clock
    from keymw.counters import Counters
    from keymw.settings import Settings

#: As many as a server has threads: one that has to wait for a connection may as well ask the store.
_CONNECTIONS = 2**16
#: Seconds by which Redis may end the wait for a stream late, twice over.
_LATE = 0.2


def check_redis_url(url: str) -> None:
    """Refuse what is not a Redis URL, or has parameters that the client does not know.

    Raises:
        ValueError: it is none. The text is not repeated: it may hold a password.
    """
    try:
        redis.ConnectionPool.from_url(url).make_connection()  # connects to nothing
    except (ValueError, AttributeError, TypeError, redis.RedisError):
        raise ValueError(
            "redis: not a Redis URL; write redis://host:6379/0, rediss://host/0 or unix:///path."
        ) from None


def _options(url: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return a client's options; what keymw relies on cannot be changed by the URL."""
    return {
        "max_connections": _CONNECTIONS,
        "client_name": "keymw",
        **url,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_timeout": settings.redis_timeout,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "decode_responses": False,
    }


def _blocking_client(url: str, settings: Settings, **options: Any) -> redis.Redis:
    options = _options(parse_url(url), settings) | options  # type: ignore[no-untyped-call]
    options["retry"] = Retry(NoBackoff(), 0)
    return redis.Redis.from_pool(redis.ConnectionPool(**options))


def blocking_cache(url: str, settings: Settings, clock: Clock, counters: Counters) -> RedisCache:
    """Return the shared cache of a blocking service."""
    breaker = Breaker(clock, settings.redis_retry, counters)
    return RedisCache(_blocking_client(url, settings), at_once, settings, breaker)


def async_cache(url: str, settings: Settings, clock: Clock, counters: Counters) -> RedisCache:
    """Return the shared cache of an asynchronous service, for the running event loop."""
    options = _options(dict(parse_async_url(url)), settings)
    options["retry"] = AsyncRetry(NoBackoff(), 0)
    client = redis.asyncio.Redis.from_pool(redis.asyncio.ConnectionPool(**options))
    breaker = Breaker(clock, settings.redis_retry, counters)
    return RedisCache(client, awaited, settings, breaker)


def change_stream(url: str, settings: Settings, clock: Clock, counters: Counters) -> RedisStream:
    """Return the messages that every service on these URLs sends."""
    # Redis itself ends a wait, up to a tenth of a second late; until then its silence is no fault.
    patience = settings.redis_timeout + settings.heartbeat + _LATE
    client = _blocking_client(url, settings, socket_timeout=patience)
    breaker = Breaker(clock, settings.redis_retry, counters, "Redis as the source of changes")
    return RedisStream(client, settings, breaker)
