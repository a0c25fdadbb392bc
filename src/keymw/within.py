"""Changes to keys in a transaction of the application's own, that of a SQLAlchemy session.

They are committed, or not, with whatever else the session does, and told to all processes after
that: never before, and never if they were rolled back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import event
from sqlalchemy.orm import Session, scoped_session

from keymw._step import blocking, run_now
from keymw.errors import InvalidInput
from keymw.flows import tell_committed
from keymw.operations import Operations
from keymw.store.changes import SqlChanges
from keymw.store.joined import Joined

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sqlalchemy.orm import SessionTransaction

    from keymw.core import Core
    from keymw.flows import Deps
    from keymw.ports import Invalidation

P = ParamSpec("P")
T = TypeVar("T")


class _Joining:
    """What operations use of a service, with the changes going into a session's transaction."""

    def __init__(
        self,
        service: Core,
        session: Session,
        run: Callable[[Callable[[Session], object]], Awaitable[object]],
        tell: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._service = service
        self._clock = service._clock  # noqa: SLF001 - the same package
        self._run = run
        self._tell = tell
        #: What the running transaction has changed.
        self._made: list[Invalidation] = []
        event.listen(session, "after_transaction_end", self._ended)

    def _ended(self, _: Session, transaction: SessionTransaction) -> None:
        """Tell of what was committed, if anything was."""
        if transaction.parent is None and self._made:
            made, self._made = self._made, []
            self._tell(tell_committed(self._service._deps(), made))  # noqa: SLF001

    def _deps(self) -> Deps:
        deps = self._service._deps()  # noqa: SLF001
        changes = SqlChanges(Joined(self._run, deps.store))
        return replace(deps, changes=changes, uncommitted=self._made)

    async def _lasting(self, change: Coroutine[Any, Any, T]) -> T:
        return await change

    async def _settled(self, told: T, *, wait: bool) -> T:
        if wait:
            raise InvalidInput("wait", "the change is not committed yet: wait after your commit.")
        return told


class Changes(_Joining):
    """Made by `KeyService.within`. The methods are the service's own."""

    issue_project_key = blocking(Operations.issue_project_key)
    issue_personal_key = blocking(Operations.issue_personal_key)
    import_key = blocking(Operations.import_key)
    update = blocking(Operations.update)
    roll = blocking(Operations.roll)
    revoke = blocking(Operations.revoke)
    deactivate_user = blocking(Operations.deactivate_user)
    activate_user = blocking(Operations.activate_user)


def _awaited(
    operation: Callable[Concatenate[Operations, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[AsyncChanges, P], Coroutine[Any, Any, T]]:
    return cast("Any", operation)  # type: ignore[no-any-return]  # see `blocking`


class AsyncChanges(_Joining):
    """Made by `AsyncKeyService.within`. The methods are the service's own."""

    issue_project_key = _awaited(Operations.issue_project_key)
    issue_personal_key = _awaited(Operations.issue_personal_key)
    import_key = _awaited(Operations.import_key)
    update = _awaited(Operations.update)
    roll = _awaited(Operations.roll)
    revoke = _awaited(Operations.revoke)
    deactivate_user = _awaited(Operations.deactivate_user)
    activate_user = _awaited(Operations.activate_user)


def changes_within(service: Core, session: object) -> Changes:
    """Return the changes that go into a session; the same ones for as long as it lives.

    Raises:
        TypeError: it is no session.
    """
    found = session() if isinstance(session, scoped_session) else session
    if not isinstance(found, Session):
        raise TypeError(f"within: give a SQLAlchemy Session, not {type(found).__name__}.")

    async def run(work: Callable[[Session], object]) -> object:
        return work(found)

    name = ("keymw", service)
    if name not in found.info:
        found.info[name] = Changes(service, found, run, run_now)
    made: Changes = found.info[name]
    return made


def async_changes_within(
    service: Core, session: object, tell: Callable[[Coroutine[Any, Any, None]], object]
) -> AsyncChanges:
    """Return the changes that go into a session; the same ones for as long as it lives.

    Args:
        service: to whom the keys belong.
        session: whose transaction is joined.
        tell: runs something in the background, for a commit does not wait until all are told.

    Raises:
        TypeError: it is no asynchronous session.
    """
    # Here and not above: it needs greenlet, which blocking services do without.
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session  # noqa: PLC0415

    found = session() if isinstance(session, async_scoped_session) else session
    if not isinstance(found, AsyncSession):
        raise TypeError(f"within: give a SQLAlchemy AsyncSession, not {type(found).__name__}.")
    name, inner = ("keymw", service), found.sync_session
    if name not in inner.info:
        inner.info[name] = AsyncChanges(service, inner, found.run_sync, tell)
    made: AsyncChanges = inner.info[name]
    return made
