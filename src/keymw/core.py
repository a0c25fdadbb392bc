"""What every service is made of, whichever face it serves: the hot path, and one process's state.

`peek` is the hot path: a plain function, no I/O, no exception, nothing built that L1 can keep.
"""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from keymw import flows, processes
from keymw.cache.fence import Fence
from keymw.cache.local import LocalCache
from keymw.clock import SystemClock
from keymw.counters import Counters
from keymw.errors import NotMigrated, StoreUnavailable
from keymw.http import INVALID, MISSING, UNAVAILABLE, UNRECOGNIZED, bearer_token
from keymw.model import CacheStats, Denied, Granted, Verdict
from keymw.opening import block, make_watch
from keymw.outage import Outage
from keymw.principals import KeyKind
from keymw.scopes import ScopeCatalog
from keymw.settings import Settings
from keymw.tokens import digest, is_presentable, is_well_formed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from typing import Self

    from keymw.cache.local import Entry
    from keymw.clock import Clock
    from keymw.flows import Deps
    from keymw.flows.changes import Told
    from keymw.ports import SharedCache, Store
    from keymw.watch import Watch

T = TypeVar("T")

#: How often a lookup is repeated whose answer no longer counts by the time that its caller goes on.
_LOOKUPS = 2


class Core(ABC):
    """Settings, L1 and counters of one service in one process."""

    def __init__(
        self,
        database: str = "sqlite:///keymw.db",
        *,
        redis: str | None = None,
        catalog: ScopeCatalog | None = None,
        settings: Settings = Settings(),  # noqa: B008 - frozen
    ) -> None:
        """Make a service; nothing is opened before it is first used.

        Args:
            database: `sqlite:///file.db` or `postgresql://user@host/name`.
            redis: `redis://`, `rediss://` or `unix://` URL; None to do without.
            catalog: the scopes that exist; None lets every well-formed scope be granted.
            settings: numbers to tune.

        Raises:
            ValueError: one of the URLs is not one that keymw can use.
            TypeError: `catalog` is no `ScopeCatalog`, or `settings` no `Settings`.
            ModuleNotFoundError: what an URL needs is not installed; the message names the extra.
        """
        from keymw.store import engines  # noqa: PLC0415 - here and not above, for lightness

        if not isinstance(settings, Settings):
            raise TypeError(f"settings: give Settings(…), not {type(settings).__name__}.")
        if catalog is not None and not isinstance(catalog, ScopeCatalog):
            raise TypeError(f"catalog: give ScopeCatalog(…), not {type(catalog).__name__}.")
        self.settings = settings
        self.catalog = catalog
        self._url = engines.parse_url(database)
        engines.check_driver(self._url)
        self._redis_url = redis
        if redis is not None:
            from keymw.cache.clients import check_redis_url  # noqa: PLC0415

            check_redis_url(redis)
        #: Where changes can come from that this service does not make.
        self._sources: tuple[str, ...] = ()
        if not engines.is_in_memory(self._url):
            self._sources = (flows.FEED,) if redis is None else (flows.FEED, flows.STREAM)
        self._clock: Clock = SystemClock()
        self._prefixes = tuple(
            (prefix.encode(), kind) for kind in KeyKind for prefix in settings.prefixes(kind)
        )
        self._limit = settings.max_credentials_length
        self._begin()
        processes.keep(self)

    def _begin(self) -> None:
        """Start with empty caches: when made, and in the child after a fork."""
        settings = self.settings
        self._local = LocalCache(settings.l1_size, settings.negative_size, Fence(*self._sources))
        self._counters = Counters()
        self._outage = Outage(self._counters)
        self._turns = threading.Semaphore(settings.max_store_lookups)
        self._lock = threading.Lock()
        self._watch: Watch | None = None

    @classmethod
    def from_env(
        cls, *, catalog: ScopeCatalog | None = None, environ: Mapping[str, str] | None = None
    ) -> Self:
        """Make a service from `KEYMW_DATABASE_URL`, `KEYMW_REDIS_URL` and `KEYMW_<SETTING>`.

        Raises:
            ValueError: a variable is missing or does not fit; the message names it.
        """
        environ = os.environ if environ is None else environ
        database = environ.get("KEYMW_DATABASE_URL")
        if not database:
            raise ValueError("KEYMW_DATABASE_URL is not set: give sqlite:///… or postgresql://….")
        return cls(
            database,
            redis=environ.get("KEYMW_REDIS_URL") or None,
            catalog=catalog,
            settings=Settings.from_env(environ),
        )

    def __repr__(self) -> str:
        url = self._url.set(query={})  # which may hold a password too
        return f"<{type(self).__name__} on {url.render_as_string(hide_password=True)}>"

    # What a service adds: how it reaches its ports, and how it waits.

    @abstractmethod
    def _deps(self) -> Deps: ...

    @abstractmethod
    async def _join(self, key: bytes) -> Entry:
        """Load a verdict; callers that ask for the same digest at the same time share one load."""
        ...

    @abstractmethod
    async def _lasting(self, change: Coroutine[Any, Any, T]) -> T:
        """Finish a change even if its caller is cancelled meanwhile."""
        ...

    async def _settled(self, told: Told, *, wait: bool) -> Told:
        """Wait, if that is wanted, until a change holds everywhere."""
        return await flows.settled(self._deps(), told) if wait else told

    def _make_deps(
        self,
        store: Store,
        shared: SharedCache | None,
        pause: Callable[[float], Awaitable[object]],
    ) -> Deps:
        return flows.Deps(
            store=store,
            changes=store,
            shared=shared,
            local=self._local,
            clock=self._clock,
            settings=self.settings,
            catalog=self.catalog,
            pause=pause,
            turns=self._turns,
            counters=self._counters,
        )

    # Listening for changes.

    def _keep_watch(self) -> Watch | None:
        """Listen from the first key that is cached; None if nobody else can change anything."""
        if self._watch is None and self._sources:
            with self._lock:
                if self._watch is None:
                    watch = make_watch(
                        lambda store: self._make_deps(store, None, block),
                        self._url,
                        self._redis_url,
                        self.settings,
                    )
                    self._finalizer = weakref.finalize(self, watch.stop)
                    self._finalizer.atexit = False
                    self._watch = watch  # last: a fork looks for the one by the other
        return self._watch

    def end_watch(self) -> Watch | None:
        """Tell the threads to stop, and return them: the leases that they got may run out."""
        with self._lock:
            watch, self._watch = self._watch, None
        if watch is not None:
            self._finalizer.detach()
            watch.stop()
        return watch

    async def _note_uses(self) -> None:
        """Have a database in memory say when keys were used: no thread can write into that."""
        if not self._sources:
            await flows.write_uses(self._deps())

    # Checking credentials.

    def peek(self, value: bytes) -> Verdict | None:
        """Return the verdict on an `Authorization` value if L1 has it.

        A hit proves the syntax too: these very bytes were found well-formed before.
        """
        if len(value) > self._limit or value[:7].lower() != b"bearer ":
            return None
        return self._local.get(sha256(value[7:]).digest(), self._clock.monotonic())

    async def _authenticate(self, value: bytes | None) -> Verdict:
        """Return the verdict on the one `Authorization` value of a request; an outage is one too.

        None is a request without the field. More than one is `MALFORMED`, which faces see first.
        """
        token = MISSING if value is None else bearer_token(value, self._limit)
        if isinstance(token, Denied):
            return token
        try:
            return await self._check(token)
        except StoreUnavailable as error:
            self._outage.note(error, self._clock.monotonic())
            return UNAVAILABLE

    async def _recheck(self, key: bytes) -> Verdict:
        """Return the verdict on a digest whose token was checked before; an outage is one too."""
        try:
            return await self._check_digest(key)
        except StoreUnavailable as error:
            self._outage.note(error, self._clock.monotonic())
            return UNAVAILABLE

    async def _verify(self, token: str) -> Verdict:
        try:
            return await self._check(token.encode("utf-8", "surrogatepass"))
        except NotMigrated:
            raise
        except StoreUnavailable as error:
            self._outage.note(error, self._clock.monotonic())
            return UNAVAILABLE

    async def _check(self, token: bytes) -> Verdict:
        refused = self._refuse_unread(token)
        return await self._check_digest(digest(token)) if refused is None else refused

    async def _check_digest(self, key: bytes) -> Verdict:
        known = self._local.get(key, self._clock.monotonic())
        if known is not None:
            return known
        begun = self._clock.monotonic()
        for _ in range(_LOOKUPS):
            generation = self._local.generation
            entry = await self._join(key)
            now = self._clock.monotonic()
            self._outage.look(now)
            if entry.verdict is UNAVAILABLE:
                break
            # Since the load has ended, its caller may have waited, or been paused, for long.
            if isinstance(entry.verdict, Granted):
                is_right = self._local.counts(entry, now)
            elif entry.alone_until >= begun + self.settings.stream_lease:
                is_right = True  # asked for after the request had begun
            else:
                is_right = generation == self._local.generation and self._local.counts(entry, now)
            if is_right:
                return entry.verdict
        return UNAVAILABLE

    def _refuse_unread(self, token: bytes) -> Denied | None:
        """Refuse what cannot be a key, without asking anybody."""
        for prefix, kind in self._prefixes:
            if token.startswith(prefix):
                if kind in self.settings.accept_unchecksummed:
                    return None if is_presentable(token) else INVALID
                return None if is_well_formed(token, prefix) else INVALID
        return UNRECOGNIZED

    def stats(self) -> CacheStats:
        """Return the counters of this service in this process."""
        size, negative_size = self._local.sizes()
        return CacheStats(
            l1_hits=self._local.hits,
            l1_negative_hits=self._local.negative_hits,
            l2_hits=self._counters.l2_hits,
            store_reads=self._counters.store_reads,
            store_errors=self._counters.store_errors,
            l2_errors=self._counters.l2_errors,
            invalidations=self._counters.invalidations,
            l1_size=size,
            l1_negative_size=negative_size,
        )

    def after_fork(self) -> None:
        """Forget what belongs to the parent: its connections, threads, locks and caches."""
        if self._watch is not None:
            self._finalizer.detach()
        processes.abandon(vars(self).copy())
        self._begin()
