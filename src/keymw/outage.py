"""Says that the database is gone, and that it is back: once each, not once a request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keymw.counters import Counters
    from keymw.errors import StoreUnavailable

log = logging.getLogger("keymw")

#: Seconds without a failure after which the database is believed to be back. A pool that is too
#: small fails and answers by turns.
_QUIET = 1.0


class Outage:
    """Whether the database answers, as far as requests have noticed."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._answers = 0
        #: When it failed last; None while it does not.
        self._failed_at: float | None = None

    def note(self, error: StoreUnavailable, now: float) -> None:
        """Take note of a request that is answered 503."""
        if self._failed_at is None:
            log.error("keymw: requests with API keys are answered 503: %s", error)
        self._failed_at = now
        self._answers = self._counters.store_answers

    def look(self, now: float) -> None:
        """Take note of a verdict. It proves nothing by itself: it may be the shared cache's."""
        if self._failed_at is None or self._answers == self._counters.store_answers:
            return
        if now >= self._failed_at + _QUIET:
            self._failed_at = None
            log.warning("keymw: the database answers again.")
