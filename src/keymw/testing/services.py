"""`KeyService` and `AsyncKeyService` on memory: everything is real but the database and Redis."""

from __future__ import annotations

import asyncio
import threading
from math import inf
from typing import TYPE_CHECKING, Any, cast

from keymw.aio import AsyncKeyService
from keymw.clock import SystemClock
from keymw.errors import InvalidInput, StoreUnavailable
from keymw.opening import block
from keymw.service import KeyService
from keymw.settings import Settings
from keymw.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keymw.clock import Clock
    from keymw.flows import Deps
    from keymw.ports import Store
    from keymw.scopes import ScopeCatalog
    from keymw.testing.redis import MemoryRedis


class Backends:
    """What a service in memory has instead of a database and a Redis, and whether they work.

    There is no other process, so nothing is missed while they work: then the caches may be believed
    as if somebody listened all the time. From an outage on, the last lease runs out.
    """

    def __init__(self, *, redis: MemoryRedis | None) -> None:
        self.redis = redis
        self.store_is_down = False
        self._store = MemoryStore()
        self._lock = threading.Lock()
        #: Until when the caches are believed, by what has failed.
        self._leases: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            if self.store_is_down and name != "aclose":
                raise StoreUnavailable("The database cannot be used: it is down for a test.")
            with self._lock:  # never held across a wait: the store's methods do not suspend
                return await method(*args, **kwargs)

        return ask

    def lease(self, source: str, until: float | None) -> float:
        """Let a lease run out, or get it anew; return until when the caches are believed."""
        if until is None:
            self._leases.pop(source, None)
        else:
            self._leases[source] = until
        return min(self._leases.values(), default=inf)


class MemoryKeyService(KeyService):
    """What `memory_service` returns."""

    def __init__(self, backends: Backends, clock: Clock, **options: Any) -> None:
        super().__init__("sqlite://", **options)
        self.backends = backends
        self._clock = clock

    def __repr__(self) -> str:
        return "<KeyService in memory>"

    def _open(self) -> Deps:
        shared = None
        if self.backends.redis is not None:
            shared = self.backends.redis.blocking(self.settings, self._clock, self._counters)
        return self._make_deps(cast("Store", self.backends), shared, block)


class AsyncMemoryKeyService(AsyncKeyService):
    """What `async_memory_service` returns."""

    def __init__(self, backends: Backends, clock: Clock, **options: Any) -> None:
        super().__init__("sqlite://", **options)
        self.backends = backends
        self._clock = clock

    def __repr__(self) -> str:
        return "<AsyncKeyService in memory>"

    def _open(self) -> Deps:
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep
        shared = None
        if self.backends.redis is not None:
            shared = self.backends.redis.awaited(self.settings, self._clock, self._counters)
        self._sqlite = cast("Store", self.backends)  # it outlives the loop
        return self._make_deps(self._sqlite, shared, pause)


def memory_service(
    *,
    catalog: ScopeCatalog | None = None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    clock: Clock | None = None,
    redis: bool = False,
) -> KeyService:
    """Return a `KeyService` whose keys live in memory, and end with it.

    It has all methods of the real one but `within`, needs no `migrate()`, and starts no thread.

    Args:
        catalog: as of `KeyService`.
        settings: as of `KeyService`.
        clock: a `MovableClock`, for instance; the machine's, by default.
        redis: put a cache in memory in the place of Redis too, for `redis_down`; that needs the
            extra `keymw[redis]`.
    """
    return MemoryKeyService(
        _backends(redis=redis), clock or SystemClock(), catalog=catalog, settings=settings
    )


def async_memory_service(
    *,
    catalog: ScopeCatalog | None = None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    clock: Clock | None = None,
    redis: bool = False,
) -> AsyncKeyService:
    """Return an `AsyncKeyService` whose keys live in memory, and end with it.

    The arguments are those of `memory_service`. It may be used in several event loops, one after
    the other: what a test has issued, a test client's own loop knows.
    """
    return AsyncMemoryKeyService(
        _backends(redis=redis), clock or SystemClock(), catalog=catalog, settings=settings
    )


def in_memory(keys: object) -> MemoryKeyService | AsyncMemoryKeyService:
    """Return a service if it is one of these.

    Raises:
        InvalidInput: it is another one.
    """
    if isinstance(keys, (MemoryKeyService, AsyncMemoryKeyService)):
        return keys
    raise InvalidInput(
        "keys",
        "only what memory_service() and async_memory_service() return can be switched off; of a "
        "real database or Redis, end the server.",
    )


def _backends(*, redis: bool) -> Backends:
    if not redis:
        return Backends(redis=None)
    from keymw.testing.redis import MemoryRedis  # noqa: PLC0415 - it needs the client's errors

    return Backends(redis=MemoryRedis())
