"""The lease under which a process may believe its caches.

A process that has asked for changes, and has applied the answer, knows that it was up to date when
it asked; it believes its caches for a while from then on. That is a lease. What keeps a process
from hearing of a change - a cut connection, a pause, a defect - also keeps it from getting the next
lease, so the bound of a revocation never depends on a message that arrives.

There is a lease from the stream in Redis and a longer one from the store's feed, and the fence is
up while both run. Times are monotonic seconds, handed in.
"""

from __future__ import annotations

import threading
from math import inf


class Fence:
    """Leases by the name of their source. With no source at all there is nothing to miss."""

    def __init__(self, *sources: str) -> None:
        self._lock = threading.Lock()
        self._leases = dict.fromkeys(sources, -inf)
        #: Until when the caches may be believed; read on the hot path, without the lock.
        self.until = min(self._leases.values(), default=inf)

    def extend(self, source: str, until: float) -> None:
        """Prolong a lease; it never gets shorter. What was heard must have been applied before."""
        with self._lock:
            self._leases[source] = max(self._leases[source], until)
            self.until = min(self._leases.values())
