"""`AsyncKeyService`: for ASGI apps. The same methods as `KeyService`, awaited.

What belongs to an event loop (clients, connections, loads in flight) is kept by loop and ends with
it, so one service may outlive several loops, as it does in tests. SQLite is bound to no loop: its
connections are the service's. So are the threads that listen for changes.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from keymw import flows
from keymw.cache.batch import Batch
from keymw.cache.local import Entry
from keymw.http import UNAVAILABLE
from keymw.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Self

    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

    from keymw.cache.redis import RedisCache
    from keymw.flows import Deps
    from keymw.model import Verdict
    from keymw.ports import Store
    from keymw.watch import Watch
    from keymw.within import AsyncChanges

T = TypeVar("T")

#: Seconds between two looks at what threads do.
_GLANCE = 0.005


class _Batched:
    """The shared cache of one loop: single questions go out together, the rest as it comes."""

    def __init__(self, cache: RedisCache) -> None:
        self.belong_to = cache.belong_to
        self.get = Batch(cache).get
        self.reserve = cache.reserve
        self.fill = cache.fill
        self.release = cache.release
        self.publish = cache.publish
        self.aclose = cache.aclose


class _Loop:
    """What a service has open in one event loop."""

    def __init__(self, deps: Deps, *, owns_store: bool) -> None:
        self.deps = deps
        self._owns_store = owns_store
        self.flights: dict[tuple[bytes, int], asyncio.Task[Entry]] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self._watch: Watch | None = None
        self._begun: asyncio.Task[None] | None = None
        self.keeper = asyncio.get_running_loop().create_task(
            self._keep(),
            name="keymw",
            context=Context(),  # not that of the first request
        )

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something to its end, whoever waits for it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _keep(self) -> None:
        """Close everything when the loop ends."""
        try:
            await asyncio.get_running_loop().create_future()  # until it is cancelled
        finally:
            if self.deps.shared is not None:
                await self.deps.shared.aclose()
            if self._owns_store:
                await self.deps.store.aclose()

    async def begin(self, watch: Watch | None, seconds: float) -> None:
        """Wait until those who listen for changes have asked once."""
        if watch is None or watch.has_tried:
            return
        if self._begun is None or self._watch is not watch:
            self._watch = watch
            self._begun = self.start(_until(lambda: watch.has_tried, seconds))
        await asyncio.wait({self._begun})

    async def end(self) -> None:
        """Close everything."""
        self.keeper.cancel()
        await asyncio.wait({self.keeper})


async def _until(check: Callable[[], bool], seconds: float) -> None:
    """Wait for threads, at the most so long, without one of the application's own threads."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not check() and loop.time() < end:  # noqa: ASYNC110 - threads set no asyncio.Event
        await asyncio.sleep(_GLANCE)


def _has_ended(watch: Watch) -> bool:
    watch.stop()
    return watch.has_ended


def _landed(
    flights: dict[tuple[bytes, int], asyncio.Task[Entry]],
    name: tuple[bytes, int],
    flight: asyncio.Task[Entry],
) -> None:
    """Let the next caller ask anew; look at the error even if nobody waits for it any more."""
    flights.pop(name, None)
    if not flight.cancelled():
        flight.exception()


class AsyncKeyService(Operations):
    """Issues, checks and revokes keys, on the running event loop.

    Nothing is opened before the first use, and a service that was closed opens again when it is
    used again. In a forked child it starts anew.
    """

    def _begin(self) -> None:
        super()._begin()
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self._sqlite: Store | None = None

    def _loop(self) -> _Loop:
        running = asyncio.get_running_loop()
        state = self._loops.get(running)
        if state is None or state.keeper.done():
            for loop in tuple(self._loops):  # other threads may have theirs
                if loop.is_closed():
                    self._loops.pop(loop, None)
            deps = self._open()
            state = _Loop(deps, owns_store=deps.store is not self._sqlite)
            self._loops[running] = state
            state.keeper.add_done_callback(partial(self._ended, running, state))
        return state

    def _ended(self, loop: asyncio.AbstractEventLoop, state: _Loop, _: object) -> None:
        """Hold nothing of a loop that is over: there may be a new one for each call."""
        if self._loops.get(loop) is state:
            del self._loops[loop]

    def _open(self) -> Deps:
        from keymw.store.engines import make_engine  # noqa: PLC0415
        from keymw.store.runners import Native, Threaded  # noqa: PLC0415
        from keymw.store.sql import SqlStore  # noqa: PLC0415

        store: Store
        if self._url.get_backend_name() == "postgresql":
            store = SqlStore(Native(self._url, self.settings))
        else:
            # Bound to no loop, and a database in memory has to outlive them all.
            if self._sqlite is None:
                engine = make_engine(self._url, self.settings)
                self._sqlite = SqlStore(Threaded(engine, self.settings.store_connections))
            store = self._sqlite
        if self._redis_url is None:
            return self._make_deps(store, None, asyncio.sleep)
        from keymw.cache.clients import async_cache  # noqa: PLC0415

        cache = async_cache(self._redis_url, self.settings, self._clock, self._counters)
        return self._make_deps(store, _Batched(cache), asyncio.sleep)

    def _deps(self) -> Deps:
        return self._loop().deps

    async def _join(self, key: bytes) -> Entry:
        state = self._loop()
        await state.begin(self._keep_watch(), self.settings.fill_patience)
        name = (key, self._local.generation)
        flight = state.flights.get(name)
        if flight is None:
            flight = state.flights[name] = state.start(flows.load(state.deps, key))
            flight.add_done_callback(partial(_landed, state.flights, name))
        # Whoever is cancelled while waiting takes neither the load nor the others along.
        done, _ = await asyncio.wait({flight}, timeout=self.settings.patience)
        return flight.result() if done else Entry(UNAVAILABLE, 0.0)

    async def _lasting(self, change: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(self._loop().start(change))

    async def authenticate(self, value: bytes | None) -> Verdict:
        """Return the verdict on the one `Authorization` value of a request, None if it has none.

        For the ASGI face; an outage is a verdict too.
        """
        return await self._authenticate(value)

    async def recheck(self, digest: bytes) -> Verdict:
        """Return the verdict on a secret that was checked before, by its digest.

        For the console, whose sessions hold no token; an outage is a verdict too.
        """
        return await self._recheck(digest)

    def within(self, session: AsyncSession | async_scoped_session[Any]) -> AsyncChanges:
        """Return the methods that change keys, to be awaited in a transaction of your own.

        As `KeyService.within`, for a SQLAlchemy `AsyncSession`.

        Raises:
            TypeError: it is no asynchronous session.
        """
        from keymw.within import async_changes_within  # noqa: PLC0415 - it needs the ORM

        return async_changes_within(self, session, lambda telling: self._loop().start(telling))

    async def start(self) -> None:
        """Open what the running loop needs and listen; the ASGI face calls it with the lifespan.

        A database that cannot be reached yet is no reason not to start.

        Raises:
            NotMigrated: the database does not have keymw's tables.
        """
        state = self._loop()
        await flows.ready(state.deps)
        await state.begin(self._keep_watch(), self.settings.fill_patience)

    async def aclose(self) -> None:
        """Give back what the running loop holds; the service may be used again."""
        state = self._loops.pop(asyncio.get_running_loop(), None)
        watch = None if self._loops else self.end_watch()
        self._local.clear()
        if watch is not None:
            # Interrupted again and again: it may begin to wait just after it was.
            await _until(partial(_has_ended, watch), self.settings.patience)
        if state is not None:
            if state.tasks:
                # Changes are finished; what a database that hangs holds up is not waited for.
                await asyncio.wait(set(state.tasks), timeout=self.settings.patience)
            await state.end()
        if not self._loops and self._sqlite is not None:
            store, self._sqlite = self._sqlite, None
            await store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
