"""`KeyService`: for WSGI apps, scripts and the command line. Every method blocks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from keymw import flows
from keymw._step import blocking, run_now
from keymw.cache.local import Entry
from keymw.core import Core
from keymw.http import UNAVAILABLE
from keymw.opening import block, blocking_store
from keymw.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Self

    from sqlalchemy.orm import Session, scoped_session

    from keymw.flows import Deps
    from keymw.model import Verdict
    from keymw.within import Changes

P = ParamSpec("P")
T = TypeVar("T")


class _Flight:
    """One load that several threads wait for. Its verdict is an outage until it is known."""

    __slots__ = ("entry", "error", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.entry = Entry(UNAVAILABLE, 0.0)
        self.error: BaseException | None = None


class KeyService(Core):
    """Issues, checks and revokes keys; safe to use from several threads.

    Nothing is opened before the first use, and a service that was closed opens again when it is
    used again. In a forked child it starts anew.
    """

    def _begin(self) -> None:
        super()._begin()
        self._opened: Deps | None = None
        self._flights: dict[tuple[bytes, int], _Flight] = {}

    def _deps(self) -> Deps:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> Deps:
        store = blocking_store(self._url, self.settings)
        if self._redis_url is None:
            return self._make_deps(store, None, block)
        from keymw.cache.clients import blocking_cache  # noqa: PLC0415

        cache = blocking_cache(self._redis_url, self.settings, self._clock, self._counters)
        return self._make_deps(store, cache, block)

    async def _join(self, key: bytes) -> Entry:
        watch = self._keep_watch()
        if watch is not None and not watch.has_tried:
            watch.wait(self.settings.fill_patience)
        name = (key, self._local.generation)
        with self._lock:
            flight = self._flights.get(name)
            leads = flight is None
            if flight is None:
                flight = self._flights[name] = _Flight()
        if leads:
            return await self._lead(name, flight)
        if not flight.landed.wait(self.settings.patience):
            return Entry(UNAVAILABLE, 0.0)
        if flight.error is not None:
            raise flight.error
        return flight.entry

    async def _lead(self, name: tuple[bytes, int], flight: _Flight) -> Entry:
        try:
            flight.entry = await flows.load(self._deps(), name[0])
        except Exception as error:
            # The followers share the failure: asking again one by one is how outages spread.
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[name]
            flight.landed.set()
        return flight.entry

    async def _lasting(self, change: Coroutine[Any, Any, T]) -> T:
        return await change

    def authenticate(self, value: bytes | None) -> Verdict:
        """Return the verdict on the one `Authorization` value of a request, None if it has none.

        For the WSGI face; an outage is a verdict too.
        """
        return run_now(self._authenticate(value))

    migrate = blocking(Operations.migrate)
    verify = blocking(Operations.verify)
    issue_project_key = blocking(Operations.issue_project_key)
    issue_personal_key = blocking(Operations.issue_personal_key)
    import_key = blocking(Operations.import_key)
    import_keys = blocking(Operations.import_keys)
    get = blocking(Operations.get)
    find_by_token = blocking(Operations.find_by_token)
    list = blocking(Operations.list)
    update = blocking(Operations.update)
    roll = blocking(Operations.roll)
    revoke = blocking(Operations.revoke)
    report_leak = blocking(Operations.report_leak)
    deactivate_user = blocking(Operations.deactivate_user)
    activate_user = blocking(Operations.activate_user)
    history = blocking(Operations.history)

    def within(self, session: Session | scoped_session[Any]) -> Changes:
        """Return the methods that change keys, to be used in a transaction of your own.

        They run on the session's connection and commit nothing: the changes hold when the session
        commits, together with what else it does, and are told to all processes right after that.
        From then on runs the bound that they return. While the transaction is open all other
        changes to keys wait: make it short, and these its last statements.

        Args:
            session: a SQLAlchemy session on the service's database.

        Raises:
            TypeError: it is no session.
        """
        from keymw.within import changes_within  # noqa: PLC0415 - it needs SQLAlchemy's ORM

        return changes_within(self, session)

    def close(self) -> None:
        """Give back connections and threads; the service may be used again."""
        with self._lock:
            deps, self._opened = self._opened, None
        watch = self.end_watch()
        self._local.clear()
        if watch is not None:
            watch.join(self.settings.patience)
        if deps is None:
            return
        if deps.shared is not None:
            run_now(deps.shared.aclose())
        run_now(deps.store.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
