"""Redis in memory, as far as keymw's shared cache asks it: by four scripts and one command.

What is keymw's is real, the cache, its signed values and the breaker; this is their client.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from keymw.cache import scripts
from keymw.integrations.extra import extra

with extra("redis", "redis"):
    from redis.exceptions import ConnectionError as RedisConnectionError

    from keymw.cache.breaker import Breaker
    from keymw.cache.redis import RedisCache, at_once, awaited

if TYPE_CHECKING:
    from keymw.clock import Clock
    from keymw.counters import Counters
    from keymw.settings import Settings


class MemoryRedis:
    """The data of a Redis, and whether it answers."""

    def __init__(self) -> None:
        self.is_down = False
        self._lock = threading.Lock()
        #: Values with the time at which they end.
        self._values: dict[str, tuple[bytes, float]] = {}

    def blocking(self, settings: Settings, clock: Clock, counters: Counters) -> RedisCache:
        """Return the shared cache of a blocking service."""
        breaker = Breaker(clock, settings.redis_retry, counters)
        return RedisCache(_Client(self, clock), at_once, settings, breaker)

    def awaited(self, settings: Settings, clock: Clock, counters: Counters) -> RedisCache:
        """Return the shared cache of an asynchronous service."""
        breaker = Breaker(clock, settings.redis_retry, counters)
        return RedisCache(_AsyncClient(_Client(self, clock)), awaited, settings, breaker)

    def get(self, name: str, now: float) -> bytes | None:
        """Return a value that has not ended."""
        value, end = self._values.get(name, (None, now))
        return value if now < end else None

    def ask(self, command: str, now: float, *arguments: Any) -> Any:
        """Do what a command or a script says.

        Raises:
            redis.ConnectionError: it is down.
        """
        if self.is_down:
            raise RedisConnectionError("Redis is down for a test.")
        with self._lock:
            if command == "mget":
                return [self.get(name, now) for name in arguments[0]]
            script, count, *rest = arguments
            return _SCRIPTS[script](self, now, rest[:count], rest[count:])

    def _reserve(self, now: float, names: list[str], given: list[Any]) -> bytes | int:
        held = self.get(names[0], now)
        if held is not None and held != given[2]:
            return held
        if self.get(names[1], now) is not None:
            return 0
        self._values[names[1]] = (given[0], now + given[1] / 1000)
        return 1

    def _fill(self, now: float, names: list[str], given: list[Any]) -> int:
        if self.get(names[1], now) != given[0]:
            return 0
        del self._values[names[1]]
        self._values[names[0]] = (given[1], now + given[2] / 1000)
        return 1

    def _release(self, now: float, names: list[str], given: list[Any]) -> int:
        if self.get(names[0], now) == given[0]:
            del self._values[names[0]]
        return 1

    def _publish(self, now: float, names: list[str], given: list[Any]) -> int:  # noqa: ARG002
        for name in names[1:]:
            self._values.pop(name, None)
        return 1  # nobody else listens


_SCRIPTS: dict[str, Any] = {
    scripts.RESERVE: MemoryRedis._reserve,  # noqa: SLF001 - of this module
    scripts.FILL: MemoryRedis._fill,  # noqa: SLF001
    scripts.RELEASE: MemoryRedis._release,  # noqa: SLF001
    scripts.PUBLISH: MemoryRedis._publish,  # noqa: SLF001
}


class _Client:
    """What the shared cache calls."""

    def __init__(self, redis: MemoryRedis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    def mget(self, names: list[str]) -> Any:
        return self._redis.ask("mget", self._clock.monotonic(), names)

    def eval(self, *arguments: Any) -> Any:
        return self._redis.ask("eval", self._clock.monotonic(), *arguments)

    def close(self) -> None:
        """Hold nothing."""


class _AsyncClient:
    """The same, awaited."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    async def mget(self, names: list[str]) -> Any:
        return self._client.mget(names)

    async def eval(self, *arguments: Any) -> Any:
        return self._client.eval(*arguments)

    async def aclose(self) -> None:
        """Hold nothing."""
