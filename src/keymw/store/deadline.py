"""How long one operation may wait for the database, whatever the database does.

The time runs from the operation's start, through the wait for a connection, to its end.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An operation's time in units of `Settings.store_timeout`. After one of them the server gives up
#: by itself; the rest is for its saying so, because only a server that has answered leaves a
#: connection that can be used again.
PATIENCE = 2.0

_end: ContextVar[float] = ContextVar("keymw_store_end", default=inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give what happens inside so much time."""
    token = _end.set(monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def left() -> float:
    """Return the seconds that are left of the operation's time, infinite for one without end."""
    return _end.get() - monotonic()
