"""L1, the cache in the process: bounded, and never older than what it has been told.

It alone decides whether an entry still counts. Good keys and refusals lie in two partitions, so
that no amount of garbage can push out a good key. Times are monotonic seconds, handed in.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from keymw.model import Verdict
    from keymw.ports import Invalidation

#: Versions remembered of keys and users, to refuse an older answer that arrives late.
_FLOORS = 100_000


class Entry:
    """A verdict and how long it counts."""

    __slots__ = ("deadline", "entities", "observed", "verdict")

    def __init__(
        self,
        verdict: Verdict,
        observed: float,
        deadline: float,
        entities: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.verdict = verdict
        #: When the read that it comes from was sent.
        self.observed = observed
        #: When it stops to count.
        self.deadline = deadline
        #: What it was made of, with versions; empty for a secret that nobody issued.
        self.entities = entities


class _Positives(LRUCache[bytes, Entry]):
    """Knows which entries belong to an entity, so that ending them does not scan the cache."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.digests_of: defaultdict[str, set[bytes]] = defaultdict(set)

    def __setitem__(self, digest: bytes, entry: Entry) -> None:
        self.pop(digest, None)
        super().__setitem__(digest, entry)
        for entity, _ in entry.entities:
            self.digests_of[entity].add(digest)

    def __delitem__(self, digest: bytes) -> None:
        entry = LRUCache.__getitem__(self, digest)
        super().__delitem__(digest)
        for entity, _ in entry.entities:
            digests = self.digests_of[entity]
            digests.discard(digest)
            if not digests:
                del self.digests_of[entity]


class LocalCache:
    """Verdicts by digest. Every method may be called from any thread."""

    def __init__(self, size: int, negative_size: int) -> None:
        self._lock = threading.Lock()
        self._positives = _Positives(size)
        self._negatives: LRUCache[bytes, Entry] = LRUCache(negative_size)
        # Whatever L1 holds has its floor: an entry has two entities at the most.
        self._floors: LRUCache[str, int] = LRUCache(max(_FLOORS, 4 * size))
        #: Grows with each invalidation. A lookup that starts after one must not join an older
        #: lookup, nor may the older one's refusal be remembered.
        self.generation = 0
        self._cleared = 0
        self.hits = 0
        self.negative_hits = 0

    def get(self, digest: bytes, now: float) -> Verdict | None:
        """Return the verdict that still counts at `now`, if there is one."""
        with self._lock:
            try:
                entry = self._positives[digest]
            except KeyError:
                return self._refusal(digest, now)
            if now < entry.deadline:
                self.hits += 1
                return entry.verdict
            return None

    def _refusal(self, digest: bytes, now: float) -> Verdict | None:
        try:
            entry = self._negatives[digest]
        except KeyError:
            return None
        if now < entry.deadline:
            self.negative_hits += 1
            return entry.verdict
        return None

    def put_granted(self, digest: bytes, entry: Entry, generation: int) -> bool:
        """Keep a good verdict that was read at `generation`.

        False if something newer is known, or everything was forgotten meanwhile: then it must not
        be used at all.
        """
        with self._lock:
            if generation < self._cleared:
                return False
            for entity, version in entry.entities:
                if version < self._floors.get(entity, 0):
                    return False
            self._learn(entry.entities)
            self._negatives.pop(digest, None)
            self._positives[digest] = entry
        return True

    def put_denied(self, digest: bytes, entry: Entry, generation: int) -> bool:
        """Keep a refusal that was read at `generation`. False if something has changed since."""
        with self._lock:
            self._learn(entry.entities)
            if generation != self.generation:
                return False
            self._positives.pop(digest, None)
            self._negatives[digest] = entry
        return True

    def invalidate(self, change: Invalidation) -> None:
        """End what is older than the change, and refuse it when it arrives late."""
        with self._lock:
            self._negatives.clear()
            self.generation += 1
            self._learn(((change.entity, change.version),))

    def _learn(self, entities: tuple[tuple[str, int], ...]) -> None:
        """Raise the floors, from wherever a version is known, and drop what lies below them.

        A version is often first seen in an answer of the store; by the time that the message about
        it arrives, the floor is there already and the message alone would end nothing.
        """
        for entity, version in entities:
            if version > self._floors.get(entity, 0):
                self._floors[entity] = version
                for digest in tuple(self._positives.digests_of.get(entity, ())):
                    del self._positives[digest]

    def clear(self) -> None:
        """Forget every verdict, those that are being read too, but not which versions were seen."""
        with self._lock:
            self._positives.clear()
            self._positives.digests_of.clear()
            self._negatives.clear()
            self.generation += 1
            self._cleared = self.generation

    def sizes(self) -> tuple[int, int]:
        """Return how many good keys and how many refusals are held."""
        return len(self._positives), len(self._negatives)
