"""Runs keymw's statements in a transaction that belongs to somebody else, who commits it or not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from keymw.errors import InvalidInput
from keymw.store import statements
from keymw.store.faults import translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from keymw.ports import Store

T = TypeVar("T")


class Joined:
    """A `Writer` on the connection of a session.

    Args:
        run: runs a function over the session: at once, or as `AsyncSession.run_sync` does.
        store: the service's own; another database than this one is refused.
    """

    def __init__(
        self, run: Callable[[Callable[[Session], object]], Awaitable[object]], store: Store
    ) -> None:
        self._run = run
        self._store = store

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in the session's transaction, and leave that open."""
        ours = await self._store.signing_keys()
        results: list[T] = []
        try:
            await self._run(partial(_join, work, ours, results))
        except (SQLAlchemyError, OSError) as error:
            raise translate(error) from error
        return results[0]


def _join(
    work: Callable[[Connection], T], ours: Sequence[bytes], results: list[T], session: Session
) -> None:
    connection = session.connection()
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.detect_autocommit_setting(driver):
        raise InvalidInput("session", "it is in AUTOCOMMIT mode: there is no transaction to join.")
    # Each database has signing keys of its own.
    if connection.execute(statements.SIGNING_KEYS).scalars().all() != ours:
        raise InvalidInput("session", "it is on another database than the service.")
    results.append(work(connection))
