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

from redis.asyncio.retry import Retry as AsyncRetry

from keymw.cache.redis import Breaker, RedisCache, at_once, awaited

if TYPE_CHECKING:
    from keymw.flows import Counters
    from keymw.ports import Clock
    from keymw.settings import Settings


def check_redis_url(url: str) -> None:
    """Refuse what is not a Redis URL.

    Raises:
        ValueError: it is none. The text is not repeated: it may hold a password.
    """
    try:
        redis.ConnectionPool.from_url(url)  # connects to nothing
    except (ValueError, AttributeError, TypeError):
        raise ValueError(
            "redis: not a Redis URL; write redis://host:6379/0, rediss://host/0 or unix:///path."
        ) from None


def _options(settings: Settings, patience: float) -> dict[str, Any]:
    return {
        "socket_connect_timeout": settings.redis_timeout,
        "socket_timeout": settings.redis_timeout + patience,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "decode_responses": False,
        "client_name": "keymw",
    }


def blocking_cache(url: str, settings: Settings, clock: Clock, counters: Counters) -> RedisCache:
    """Return the shared cache of a blocking service."""
    client, follower = (
        redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_options(settings, patience))
        for patience in (0, settings.poll_interval)
    )
    breaker = Breaker(clock, settings.redis_retry, counters)
    return RedisCache(client, follower, at_once, settings, breaker)


def async_cache(url: str, settings: Settings, clock: Clock, counters: Counters) -> RedisCache:
    """Return the shared cache of an asynchronous service, for the running event loop."""
    client, follower = (
        redis.asyncio.Redis.from_url(
            url, retry=AsyncRetry(NoBackoff(), 0), **_options(settings, patience)
        )
        for patience in (0, settings.poll_interval)
    )
    breaker = Breaker(clock, settings.redis_retry, counters)
    return RedisCache(client, follower, awaited, settings, breaker)
