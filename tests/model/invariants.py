"""What must hold in every schedule, judged from outside: nothing here uses keymw's own guards.

1. No accept of a version older than one that the process had seen when the lookup began.
2. No accept later than the return of the change + its bound: `acknowledged_bound` if Redis has it
   and keeps it, else `unacknowledged_bound`, which for a change whose maker died runs from its
   commit.
3. While nothing fails, one store query per key between invalidations, in all processes together;
   a query belongs to where the right to it was given.
4. Every lookup ends, and leaves nothing taken.
5. An outage is UNAVAILABLE: never an accept by the above, nor a refusal of a good key. A refusal
   may be as late as an accept (2); but a process that has accepted a good key does not refuse it.
6. No accept of an answer older than `max_age`, nor of a key that has expired.
7. What a change has made old is no longer in Redis, and is not put back.
8. A principal is that of the very secret that was sent.
9. An answer that Redis has said is overtaken is not used by who was told so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from keymw import Granted, Reason
from keymw._step import run_now
from keymw.http import UNAVAILABLE
from keymw.policy import judge

#: Clocks of machines may differ by this much, in seconds.
_SKEW = 1.0


@dataclass(frozen=True)
class Stamp:
    """How an answer of the store is recognised wherever it turns up: it travels in the label."""

    key_id: str
    versions: tuple[tuple[str, int], ...]
    position: int
    read_at: float

    @classmethod
    def of(cls, record, now):
        return cls(record.key_id, record.entities, record.position, now)

    def __str__(self):
        versions = ",".join(f"{entity}={version}" for entity, version in self.versions)
        return f"{self.key_id}|{versions}|{self.position}|{self.read_at}"

    @classmethod
    def parse(cls, label):
        key_id, versions, position, read_at = label.split("|")
        pairs = tuple(pair.split("=") for pair in versions.split(","))
        return cls(
            key_id,
            tuple((name, int(number)) for name, number in pairs),
            int(position),
            float(read_at),
        )


@dataclass
class Change:
    """A committed change, and how far it has got."""

    entity: str
    version: int
    committed_at: float
    published: bool = False
    #: Redis has lost data since, or the maker never heard that it was published.
    forgotten: bool = False
    returned_at: float | None = None

    def state(self):
        return (self.entity, self.version, self.committed_at, *self._progress())

    def _progress(self):
        return self.published, self.forgotten, self.returned_at


@dataclass(frozen=True)
class Begun:
    """What was the case when a lookup began."""

    process: str
    digest: bytes
    seen: dict[str, int]
    #: The versions with which the process has accepted this very key.
    accepted: dict[str, int]
    #: How many times the key's state had changed.
    turns: int


@dataclass
class Invariants:
    world: object
    changes: list[Change] = field(default_factory=list)
    #: By process, the versions that it has been told of.
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Whether each key was good, and the change that made it so, from the first to the last.
    goodness: dict[bytes, list[tuple[bool, Change | None]]] = field(default_factory=dict)
    #: By process and key, the versions that were accepted last.
    accepted: dict[tuple[str, bytes], tuple[tuple[str, int], ...]] = field(default_factory=dict)
    #: How many changes Redis has heard of, now and when somebody was given the right to read.
    epoch: int = 0
    epochs: dict[str, int] = field(default_factory=dict)
    #: Reads of the store, by what was read and in which epoch.
    reads: set[object] = field(default_factory=set)
    #: By actor, what it was last told of a key, and whether Redis has said that it is overtaken.
    last: dict[str, tuple[tuple[tuple[str, int], ...], bool]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    check_reads: bool = True

    def state(self):
        return (
            tuple(change.state() for change in self.changes),
            tuple((name, frozenset(seen.items())) for name, seen in self.seen.items()),
            tuple((digest, len(turns)) for digest, turns in self.goodness.items()),
            frozenset(self.accepted.items()),
            frozenset(self.epochs.items()),
            frozenset(self.reads),
            frozenset(self.last.items()),
        )

    def _break(self, what):
        self.broken.append(what)

    # What happens.

    def knows(self, digest):
        """Take note of a secret that the schedule is about, and whether it is good."""
        self.goodness[digest] = [(self._is_good(digest), None)]

    def _is_good(self, digest):
        record = run_now(self.world.store.find(digest))
        return isinstance(judge(record, self.world.now(), None), Granted)

    def saw(self, process, entities):
        known = self.seen.setdefault(process, {})
        for entity, version in entities:
            known[entity] = max(known.get(entity, 0), version)

    def committed(self, invalidation):
        change = Change(invalidation.entity, invalidation.version, self.world.seconds)
        self.changes.append(change)
        for digest, turns in self.goodness.items():
            good = self._is_good(digest)
            if good is not turns[-1][0]:
                turns.append((good, change))
        return change

    def published(self, entity, version):
        self.epoch += 1
        for change in self.changes:
            if (change.entity, change.version) == (entity, version):
                change.published = True

    def redis_lost(self):
        for change in self.changes:
            change.forgotten = change.forgotten or change.published

    def returned(self, change, acknowledged):
        change.returned_at = self.world.seconds
        if acknowledged and not change.published:
            self._break("a change is said to be in Redis that is not")
        change.forgotten = change.forgotten or not acknowledged

    def died(self, change):
        """Take note of a maker that ended without a word: the bound runs from the commit."""
        change.returned_at, change.forgotten = change.committed_at, True

    def reserved(self, actor):
        """Take note that somebody was given the right to read the store."""
        self.epochs[actor] = self.epoch

    def read(self, actor, digest, stamp):
        """Take note of an answer of the store."""
        if not (self.check_reads and self.world.healthy and self._is_good(digest)):
            return  # refusals are not shared
        epoch = self.epochs.pop(actor, None)
        if epoch is None:
            if not self.last.get(actor, ((), False))[1]:  # who was overtaken again and again may
                self._break("the store was read without a right to it (3)")
            return
        if (digest, stamp.versions, epoch) in self.reads:
            self._break("the store was read twice with no change between (3)")
        self.reads.add((digest, stamp.versions, epoch))

    def told(self, actor, entities):
        """Take note of an answer, of the store or of Redis, that has reached somebody."""
        self.last[actor] = (entities, False)

    def overtaken(self, actor):
        """Take note that Redis has refused what somebody wanted to fill in."""
        self.last[actor] = (self.last[actor][0], True)

    def put(self, stamp):
        """Take note of a value that is in Redis."""
        for change in self.changes:
            old = dict(stamp.versions).get(change.entity, inf) < change.version
            if old and change.published and not change.forgotten:
                self._break(f"{stamp.versions} is in Redis after it was changed (7)")

    # What comes of lookups.

    def begin(self, process, digest):
        seen = dict(self.seen.get(process, {}))
        accepted = dict(self.accepted.get((process, digest), ()))
        return Begun(process, digest, seen, accepted, len(self.goodness[digest]))

    def ended(self, actor, begun, verdict):
        entities, overtaken = self.last.pop(actor, ((), False))
        if overtaken and isinstance(verdict, Granted):
            self._break("an answer was used that Redis had said is overtaken (9)")
        if isinstance(verdict, Granted):
            self._accepted(begun, Stamp.parse(verdict.principal.label))
        elif verdict.reason is not Reason.UNAVAILABLE:
            self._refused(begun, verdict.reason)
        elif self.world.healthy:
            self._break("a key is uncheckable though nothing failed (5)")
        if verdict != UNAVAILABLE:
            # What it was told has been applied by now. Before that, it was on its way.
            self.saw(begun.process, entities)

    def _accepted(self, begun, stamp):
        now = self.world.seconds
        self.accepted[begun.process, begun.digest] = stamp.versions
        for entity, version in stamp.versions:
            if version < begun.seen.get(entity, 0):
                self._break(f"{entity} {version} was accepted after a newer one was seen (1)")
        for change in self.changes:
            if dict(stamp.versions).get(change.entity, inf) < change.version:
                self._in_time(change, "accepted")
        good, change = self.goodness[begun.digest][-1]
        if change is not None and not good:
            self._in_time(change, "accepted")
        if now > stamp.read_at + self.world.settings.max_age + _SKEW:
            self._break(f"an answer {now - stamp.read_at} s old was accepted (6)")
        record = run_now(self.world.store.find(begun.digest))
        if record is None or record.key_id != stamp.key_id:
            self._break("somebody else's principal (8)")
        elif stamp.versions == record.entities and self._has_ended(begun.process, record):
            self._break("a key was accepted that had ended by itself (6)")

    def _has_ended(self, process, record):
        """Say whether a key has ended by itself, as a process whose clock is right can tell."""
        ends = record.ends_at
        return (
            ends is not None and self.world.now() >= ends and not self.world.steps_back.get(process)
        )

    def _refused(self, begun, reason):
        turns = self.goodness[begun.digest]
        if not all(good for good, _ in turns[begun.turns - 1 :]) or not self._is_good(begun.digest):
            return  # it was true at some time during the lookup
        change = turns[-1][1]
        if change is None:
            self._break(f"a good key was refused: {reason} (5)")
            return
        if change.version <= begun.accepted.get(change.entity, 0):
            self._break(f"{reason} after the same process had accepted the key (5)")
        self._in_time(change, "unknown")

    def _in_time(self, change, what):
        if change.returned_at is None:
            return
        settings = self.world.settings
        sure = change.published and not change.forgotten
        bound = settings.acknowledged_bound if sure else settings.unacknowledged_bound
        late = self.world.seconds - change.returned_at
        if late > bound:
            self._break(f"{change.entity} {change.version} still {what} {late:g} s later (2)")
