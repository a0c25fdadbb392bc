"""What the fork and the end of a process mean for the services in it."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from keymw.watch import Watch

#: Seconds that a process that ends waits for its threads; a database that hangs may keep one.
_PATIENCE = 0.5


class Resident(Protocol):
    """What lives in a process."""

    def after_fork(self) -> None:
        """Start anew, in the child."""
        ...

    def end_watch(self) -> Watch | None:
        """Tell the threads to stop, and return them."""
        ...


_residents: weakref.WeakSet[Resident] = weakref.WeakSet()
#: What children inherited: never closed, because closing would speak over the parent's sockets.
_abandoned: list[object] = []


def keep(resident: Resident) -> None:
    """Let it know of forks, and of the end, for as long as it lives."""
    _residents.add(resident)


def abandon(inherited: object) -> None:
    """Hold for ever what a child has inherited."""
    _abandoned.append(inherited)


def _forked() -> None:
    for resident in tuple(_residents):
        resident.after_fork()


def _exiting() -> None:
    """End the threads before the interpreter does, which might catch them in the midst of C."""
    ended = [resident.end_watch() for resident in tuple(_residents)]
    for watch in ended:
        if watch is not None:
            watch.join(_PATIENCE)


os.register_at_fork(after_in_child=_forked)
atexit.register(_exiting)
