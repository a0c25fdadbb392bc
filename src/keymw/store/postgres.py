"""psycopg's connections with a deadline of the client's own.

`statement_timeout` is kept by the server, so that one which hangs keeps nothing. Here nobody waits
longer than the operation's deadline (`deadline.py`): the connection is then closed, because an
answer that came late would be taken for the answer to the next question.

While a connection is being made, psycopg's `connect_timeout` counts instead: in whole seconds, two
at the least, for each address that the host has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import AsyncConnection, Connection, OperationalError

from keymw.store import deadline

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn

T = TypeVar("T")


def _in_time(gen: PQGen[T], pgconn: PGconn) -> PQGen[T]:
    """Drive a generator of psycopg's until the deadline; it is woken at every tenth of a second."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and deadline.left() <= 0:
                pgconn.finish()
                raise OperationalError("it has not answered in time.")
            wanted = gen.send(ready)
    except StopIteration as done:
        result: T = done.value
        return result


class PatientConnection(Connection[Any]):
    """A connection for blocking services."""

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait for the server until the deadline."""
        return super().wait(_in_time(gen, self.pgconn), *args, **kwargs)


class AsyncPatientConnection(AsyncConnection[Any]):
    """A connection for asynchronous services."""

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait for the server until the deadline."""
        return await super().wait(_in_time(gen, self.pgconn), *args, **kwargs)

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's
        """Ask the server, until the deadline, to give up; psycopg does when a task is cancelled."""
        await super().cancel_safe(timeout=max(0.0, min(timeout, deadline.left())))
