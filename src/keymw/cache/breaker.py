"""Remembers what of Redis has failed, so that it is left alone for a while and logged once.

A connection that fails says that Redis cannot be used at all; an error reply says so of one command
only. A Redis that is out of memory, read-only, or that lacks a permission goes on answering reads.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from keymw.cache.faults import explain

if TYPE_CHECKING:
    from keymw.cache.faults import Fault
    from keymw.clock import Clock
    from keymw.counters import Counters

log = logging.getLogger("keymw")

#: Everything that is asked over the connection.
_ALL = ""
#: Seconds without a failure after which what has failed is believed to be well. A Redis that has no
#: room for another connection, or is slow, fails and answers by turns.
_QUIET = 5.0


class Breaker:
    """The state of one connection to Redis, for all commands that are sent over it."""

    def __init__(self, clock: Clock, retry: float, counters: Counters, name: str = "Redis") -> None:
        self._clock = clock
        self._retry = retry
        self._counters = counters
        self._name = name
        #: What has failed, and when it may be tried again.
        self._until: dict[str, float] = {}
        #: What has been said to have failed, and when it did so last.
        self._failed_at: dict[str, float] = {}
        #: What was said of it: another cause is worth another line.
        self._said: set[tuple[str, str]] = set()

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
        fault = explain(error)
        what = _ALL
        if not fault.is_total:
            what = command
            self._works(_ALL)  # it has answered
        now = self._clock.monotonic()
        self._until.setdefault(what, now + self._retry)
        self._say(what, fault)
        self._failed_at[what] = now

    def _say(self, what: str, fault: Fault) -> None:
        if what in self._failed_at and (not fault.advice or (what, fault.advice) in self._said):
            return
        self._said.add((what, fault.advice))
        log.warning(
            "keymw: %s cannot be used (%s); going on without it.%s",
            self._called(what),
            fault.text,
            f" To mend it: {fault.advice}" if fault.advice else "",
        )

    def succeeded(self, command: str) -> None:
        """Trust the command, and with it the connection, again."""
        self._works(_ALL)
        self._works(command)

    def _works(self, what: str) -> None:
        self._until.pop(what, None)
        failed_at = self._failed_at.get(what)
        if failed_at is None or self._clock.monotonic() < failed_at + _QUIET:
            return
        if self._failed_at.pop(what, None) is not None:
            self._said = {said for said in tuple(self._said) if said[0] != what}
            log.warning("keymw: %s can be used again.", self._called(what))

    def _called(self, what: str) -> str:
        return f"{self._name} for {what!r}" if what else self._name
