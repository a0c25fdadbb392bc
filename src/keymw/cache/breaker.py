"""Remembers what of Redis has failed, so that it is left alone for a while and logged once.

A connection that fails says that Redis cannot be used at all; an error reply says so of one command
only. A Redis that is out of memory, read-only, or that lacks a permission goes on answering reads.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from keymw.counters import Counters
    from keymw.ports import Clock

log = logging.getLogger("keymw")

#: Everything that is asked over the connection.
_ALL = ""


class Breaker:
    """The state of one connection to Redis, for all commands that are sent over it."""

    def __init__(self, clock: Clock, retry: float, counters: Counters, name: str = "Redis") -> None:
        self._clock = clock
        self._retry = retry
        self._counters = counters
        self._name = name
        #: What has failed, and when it may be tried again.
        self._until: dict[str, float] = {}

    def permits(self, command: str) -> bool:
        """Say whether Redis may be asked this now; of many callers, one tries what has failed."""
        now = self._clock.monotonic()
        failed = [what for what in (_ALL, command) if what in self._until]
        if any(now < self._until.get(what, now) for what in failed):
            return False
        for what in failed:
            self._until[what] = now + self._retry
        return True

    def failed(self, command: str, error: Exception) -> None:
        """Leave the command alone for a while, or Redis as a whole."""
        self._counters.l2_errors += 1
        what = _ALL
        if isinstance(error, ResponseError):
            what = command
            self._works(_ALL)  # it has answered
        if what in self._until:
            return
        self._until[what] = self._clock.monotonic() + self._retry
        log.warning(
            "keymw: %s cannot be used (%s: %s); going on without it.",
            self._called(what),
            type(error).__name__,
            error,
        )

    def succeeded(self, command: str) -> None:
        """Trust the command, and with it the connection, again."""
        self._works(_ALL)
        self._works(command)

    def _works(self, what: str) -> None:
        if self._until.pop(what, None) is not None:
            log.warning("keymw: %s can be used again.", self._called(what))

    def _called(self, what: str) -> str:
        return f"{self._name} for {what!r}" if what else self._name
