"""L1, the cache in the process: bounded, and never older than what it has been told.

It alone decides whether a verdict still counts, one that has just been read too. Good keys and
refusals lie in two partitions, so that no amount of garbage can push out a good key. A hit takes no
lock: it reads one entry of a dict, and all that counts of an entry was in it before it came there.
Times are monotonic seconds, handed in.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING

from keymw.cache.floors import Floors
from keymw.cache.sieve import Sieve
from keymw.model import Granted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keymw.cache.fence import Fence
    from keymw.model import Verdict
    from keymw.ports import Invalidation

#: Versions remembered of keys and users, to refuse an older answer that arrives late.
_FLOORS = 100_000


class Entry:
    """A verdict and how long it counts."""

    __slots__ = (
        "alone_until",
        "deadline",
        "entities",
        "key",
        "newer",
        "noted_in",
        "older",
        "position",
        "used_at",
        "verdict",
        "visited",
    )

    def __init__(
        self,
        verdict: Verdict,
        deadline: float,
        alone_until: float = -inf,
        entities: tuple[tuple[str, int], ...] = (),
        position: int = 0,
    ) -> None:
        self.verdict = verdict
        #: When it stops to count in any case.
        self.deadline = deadline
        #: Until when it counts without the fence, because the store itself has said it just now.
        self.alone_until = alone_until
        #: What it was made of, with versions; empty for a secret that nobody issued.
        self.entities = entities
        #: Number of the last event that had happened when it was read.
        self.position = position
        #: When it was last used; nothing if it never was.
        self.used_at = -inf
        #: Which list of uses has it, those that were taken note of and the current one.
        self.noted_in: object = None
        # Its place in the cache.
        self.key = b""
        self.visited = False
        self.older: Entry | None = None
        self.newer: Entry | None = None


class _Positives(Sieve[Entry]):
    """Knows which entries belong to an entity, so that ending them does not scan the cache."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.digests_of: defaultdict[str, set[bytes]] = defaultdict(set)

    def __setitem__(self, digest: bytes, entry: Entry) -> None:
        super().__setitem__(digest, entry)
        for entity, _ in entry.entities:
            self.digests_of[entity].add(digest)

    def __delitem__(self, digest: bytes) -> None:
        entry = self[digest]
        super().__delitem__(digest)
        for entity, _ in entry.entities:
            digests = self.digests_of[entity]
            digests.discard(digest)
            if not digests:
                del self.digests_of[entity]

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self.digests_of.clear()


class LocalCache:
    """Verdicts by digest. Every method may be called from any thread."""

    def __init__(self, size: int, negative_size: int, fence: Fence) -> None:
        self._lock = threading.Lock()
        self._positives = _Positives(size)
        self._negatives: Sieve[Entry] = Sieve(negative_size)
        # Whatever L1 holds has its floor: an entry has two entities at the most.
        self._floors = Floors(max(_FLOORS, 4 * size))
        self.fence = fence
        #: Grows with each invalidation. A lookup that starts after one must not join an older
        #: lookup, nor may the older one's refusal be remembered.
        self.generation = 0
        #: Good entries that were used since somebody has taken note, whether still kept or not.
        self._used: dict[bytes, Entry] = {}
        #: Stands for that list, which the entries themselves would keep alive.
        self._list = object()
        self.hits = 0
        self.negative_hits = 0

    @property
    def progress(self) -> tuple[int, int]:
        """Up to which event every change has been applied, and the last one heard of."""
        with self._lock:
            return self._floors.seen, self._floors.highest

    def get(self, digest: bytes, now: float) -> Verdict | None:
        """Return the verdict that still counts at `now`, if there is one.

        CPython lets no other thread run within `+=` of an attribute, so the counters are right.
        """
        try:
            entry = self._positives[digest]
        except KeyError:
            return self._refusal(digest, now)
        # As `_runs` says; a call would cost more than the rest.
        if now < entry.deadline and (now < self.fence.until or now < entry.alone_until):
            self.hits += 1
            entry.visited = True
            entry.used_at = now
            # Only then may the list be looked at: who takes it reads the times after that.
            if entry.noted_in is not self._list:
                self._note_use(digest, entry)
            return entry.verdict
        return None

    def _refusal(self, digest: bytes, now: float) -> Verdict | None:
        try:
            entry = self._negatives[digest]
        except KeyError:
            return None
        if self._runs(entry, now):
            self.negative_hits += 1
            entry.visited = True
            return entry.verdict
        return None

    def _note_use(self, digest: bytes, entry: Entry) -> None:
        with self._lock:
            entry.noted_in = self._list
            self._used[digest] = entry

    def _runs(self, entry: Entry, now: float) -> bool:
        return now < entry.deadline and (now < self.fence.until or now < entry.alone_until)

    def counts(self, entry: Entry, now: float) -> bool:
        """Say whether a verdict counts: it has not ended, and nothing newer is known."""
        with self._lock:
            return self._runs(entry, now) and self._floors.admit(entry.entities, entry.position)

    def put_granted(self, digest: bytes, entry: Entry, now: float) -> bool:
        """Keep a good verdict. False if it does not count: then it must not be used at all."""
        with self._lock:
            self._learn(entry.entities, entry.position)
            if not self._runs(entry, now):
                return False
            if not self._floors.admit(entry.entities, entry.position):
                return False
            self._negatives.pop(digest, None)
            self._positives[digest] = entry
            # Who has asked for it uses it.
            entry.used_at = now
            entry.noted_in = self._list
            self._used[digest] = entry
        return True

    def put_denied(self, digest: bytes, entry: Entry, generation: int) -> bool:
        """Keep a refusal that was read at `generation`. False if something newer is known."""
        with self._lock:
            if generation != self.generation:
                return False
            if not self._floors.admit(entry.entities, entry.position):
                return False
            # A grant that was read later stays; an unknown key has no position and gives way.
            if digest in self._positives and self._positives[digest].position > entry.position:
                return False
            self._positives.pop(digest, None)
            self._negatives[digest] = entry
        return True

    def invalidate(self, change: Invalidation) -> bool:
        """End what is older than the change, and refuse it when it arrives late.

        False if a change that came before this one has not been heard of yet.
        """
        with self._lock:
            self._apply(change)
            return self._floors.note(change)

    def learn(self, entities: Sequence[tuple[str, int]], position: int) -> None:
        """Take note of versions that the store has told, whatever becomes of its answer."""
        with self._lock:
            self._learn(entities, position)

    def catch_up(
        self,
        progress: tuple[int, int],
        position: int,
        changes: Sequence[Invalidation],
        *,
        complete: bool,
    ) -> bool:
        """Apply what has changed since `progress`, up to `position`.

        What must have changed otherwise is forgotten: all that is older than the changes, if they
        are not complete; everything, if the store has gone back to an older state of itself.

        False if that has been noticed by somebody else meanwhile: then ask again.
        """
        after, highest = progress
        with self._lock:
            if after > self._floors.seen:
                return False
            if position < highest:
                self._floors.restart(position)
                self._forget()
            if not complete:
                self._forget_before(changes[0].seq)
            for change in changes:
                self._apply(change)
            self._floors.reach(position)
            return True

    def _forget_before(self, seq: int) -> None:
        self._floors.forget_before(seq)
        entries = self._positives.items()
        self._drop(name for name, entry in entries if entry.position < self._floors.since)

    def _apply(self, change: Invalidation) -> None:
        self._negatives.clear()
        self.generation += 1
        self._raise(change.entity, change.version, change.seq)

    def _learn(self, entities: Sequence[tuple[str, int]], position: int) -> None:
        """Raise the floors from an answer.

        A version is often first seen there; by the time that the message about it arrives, the
        floor is there already and the message alone would end nothing.
        """
        for entity, version in entities:
            self._raise(entity, version, position)

    def _raise(self, entity: str, version: int, position: int) -> None:
        if self._floors.raise_to(entity, version, position):
            self._drop(self._positives.digests_of.get(entity, ()))

    def _drop(self, digests: Iterable[bytes]) -> None:
        for digest in tuple(digests):
            del self._positives[digest]

    def clear(self) -> None:
        """Forget every verdict, but not which versions were seen."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        self._positives.clear()
        self._negatives.clear()
        self.generation += 1

    @property
    def uses(self) -> int:
        """How many secrets have uses that wait to be taken note of."""
        return len(self._used)

    def take_uses(self) -> list[tuple[str, bytes, float]]:
        """Return key, digest and time of the last use of each secret since the last call."""
        with self._lock:
            used, self._used, self._list = self._used, {}, object()
            return [
                (entry.verdict.principal.key_id, digest, entry.used_at)
                for digest, entry in used.items()
                if isinstance(entry.verdict, Granted)
            ]

    def sizes(self) -> tuple[int, int]:
        """Return how many good keys and how many refusals are held."""
        return len(self._positives), len(self._negatives)
