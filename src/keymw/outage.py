"""Says that the database is gone, and that it is back: once each, not once a request."""

from __future__ import annotations

import logging
import threading
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
        self._lock = threading.Lock()
        self._answers = 0
        #: When it failed last; None while it does not.
        self._failed_at: float | None = None

    def note(self, error: StoreUnavailable, now: float) -> None:
        """Take note of a request that is answered 503."""
        with self._lock:
            begins = self._failed_at is None
            self._failed_at = now
            self._answers = self._counters.store_answers
        if begins:
            log.error("keymw: requests with API keys are answered 503: %s", error)

    def look(self, now: float) -> None:
        """Take note of a verdict. It proves nothing by itself: it may be the shared cache's."""
        if self._failed_at is None:
            return
        with self._lock:
            ends = (
                self._failed_at is not None
                and self._answers != self._counters.store_answers
                and now >= self._failed_at + _QUIET
            )
            if ends:
                self._failed_at = None
        if ends:
            log.warning("keymw: the database answers again.")
