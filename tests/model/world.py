"""A fleet in a box: worker processes, one store, one Redis, one clock, and what may go wrong.

All that decides is keymw's own: `Core`, the flows, L1 with its fence and floors, the codec, the
Redis adapters. Only what they stand on is modelled. Each port stops before a call takes effect and
again before its answer arrives, for a request that was executed but never answered is a state of
its own.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from unittest import mock

from keymw import Settings
from keymw.flows import changes, lookup
from keymw.store.memory import MemoryStore
from keymw.tokens import generate
from model.invariants import Invariants
from model.process import DIES, Process
from model.redis_model import LOST, REFUSED, Redis
from model.scheduler import NOTHING, Actor, Move, Violation

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: A wall clock steps back by this, which is longer than anything is cached.
HOUR = 3600.0
#: More moves than any schedule takes that ends.
_ENDLESS = 400


def token_of(actor, prefix="phs_"):
    """Return the secret that somebody makes in a schedule, the same one each time."""
    return generate(prefix, Random(actor).randbytes)


@contextmanager
def repeatable():
    """Let nothing be random while schedules are run."""
    with mock.patch.object(lookup, "secrets"), mock.patch.object(changes, "generate") as made:
        made.side_effect = lambda prefix: token_of(lookup.secrets.turn, prefix)
        yield


@dataclass(frozen=True)
class Faults:
    """What may go wrong in a schedule, and how often."""

    most: int = 0
    #: Calls that fail, and answers that never come.
    calls: bool = True
    #: Redis is emptied, or goes back to what it was at the beginning or before its last change, or
    #: loses the last message.
    redis: bool = False
    #: Lookups are cancelled, and makers of changes die.
    ends: bool = False
    #: Wall clocks step back.
    clocks: bool = False
    #: Redis gives somebody the answer to somebody else's question.
    crossed: bool = False
    #: How often everything stands still, and for how many seconds it may.
    jumps: int = 0
    lengths: tuple[float, ...] = (1.05, 5.05)


class World:
    """One schedule's world."""

    settings = Settings()

    def __init__(self, faults=Faults()):
        self._faults = faults
        self.faults_left, self.jumps_left = faults.most, faults.jumps
        self.seconds = 10_000.0
        self.steps_back = {}
        self.store = MemoryStore()
        self.redis = Redis(lambda: self.seconds)
        self.actors: dict[str, Actor] = {}
        self.processes: dict[str, Process] = {}
        self.invariants = Invariants(self)
        self.schedule: list[Move] = []
        #: Whose turn it is.
        self.turn = ""
        lookup.secrets = self  # `repeatable` puts it back
        self._tokens: dict[str, int] = {}
        self._snapshots: list[object] = []

    @property
    def healthy(self):
        """Whether nothing has gone wrong so far."""
        left = (self.faults_left, self.jumps_left)
        return left == (self._faults.most, self._faults.jumps)

    def now(self, process=None):
        return EPOCH + timedelta(seconds=self.seconds - self.steps_back.get(process, 0.0))

    def token_bytes(self, _):
        """Stand in for `secrets`: what a replay gives must be the same again."""
        self._tokens[self.turn] = self._tokens.get(self.turn, 0) + 1
        return f"{self.turn} {self._tokens[self.turn]}".encode()

    # Making the world.

    def process(self, name):
        if name not in self.processes:
            self.processes[name] = Process(self, name)
        return self.processes[name]

    def at_once(self, coroutine):
        """Run something to its end while nothing else happens; only to prepare a scenario."""
        while True:
            try:
                coroutine.send(None)
            except StopIteration as done:
                return done.value

    def begin(self):
        """Take note of what there is when the schedule begins."""
        self._snapshots = [self.redis.snapshot()]

    def act(self, name, process, coroutine, uses, end=None):
        """Have somebody act in a process from now on."""
        self.turn = name
        self.actors[name] = Actor(name, process.name, coroutine, uses, end)
        return self.actors[name]

    # The scheduler's side.

    def moves(self):
        """Return what can happen next; nothing at the end."""
        acting = [actor for actor in self.actors.values() if not actor.done]
        if not acting:
            return []
        ready = [actor for actor in acting if actor.step.ready is None or actor.step.ready()]
        if not ready:
            return [Move("time", "passes", NOTHING, frozenset({"clock"}))]
        for actor in ready:
            if not self._is_shared(actor, acting):
                return self._moves_of(actor)
        found = [move for actor in ready for move in self._moves_of(actor)]
        asleep = [actor for actor in acting if actor not in ready]
        return [*found, *(m for a in asleep for m in self._ends_of(a)), *self._accidents()]

    def _is_shared(self, actor, acting):
        """Say whether the next step can interfere with anything that may still happen.

        If not, the order does not matter, and one will do.
        """
        used = actor.step.reads | actor.step.writes
        others = set()
        if self.jumps_left or (self.faults_left and self._faults.clocks):
            others.add("clock")
        if self.faults_left and self._faults.redis:
            others |= {"values", "stream"}
        for other in acting:
            if other is not actor:
                others |= other.uses - {"clock"}
        return bool(used & others)

    def _moves_of(self, actor):
        step = actor.step
        moves = [Move(actor.name, step.name, step.reads, step.writes)]
        if self.faults_left:
            wanted = [fault for fault in step.faults if self._allows(fault)]
            moves += [replace(moves[0], fault=fault) for fault in wanted]
        return moves + self._ends_of(actor)

    def _allows(self, fault):
        return self._faults.calls if fault in (REFUSED, LOST) else self._faults.crossed

    def _ends_of(self, actor):
        if not (self.faults_left and self._faults.ends) or actor.end is None:
            return []
        return [Move(actor.name, actor.step.name, NOTHING, frozenset({actor.place}), actor.end)]

    def _accidents(self):
        if self.jumps_left:
            for seconds in self._faults.lengths:
                yield Move("time", f"+{seconds}", NOTHING, frozenset({"clock"}))
        if self.faults_left and self._faults.redis:
            for number, snapshot in enumerate(self._snapshots):
                if snapshot != self.redis.snapshot():
                    yield self._redis_move(f"went back to {number}")
            yield self._redis_move("was emptied")
            if any(self.redis.streams.values()):
                yield self._redis_move("lost a message")
        if self.faults_left and self._faults.clocks:
            for name in self.processes:
                if name not in self.steps_back:
                    yield Move(name, "wall clock steps back", NOTHING, frozenset({"clock", name}))

    @staticmethod
    def _redis_move(name):
        return Move("redis", name, NOTHING, frozenset({"values", "stream"}))

    def make(self, move):
        """Let something happen, and see whether all that must hold still does."""
        self.schedule.append(move)
        self.turn = move.actor
        if move.actor in self.actors:
            self._go_on(self.actors[move.actor], move.fault)
        elif move.actor == "time":
            self._pass(move.name)
        else:
            self.faults_left -= 1
            self._break_something(move)
        if self.invariants.broken:
            raise self.violation(self.invariants.broken[0])
        if len(self.schedule) > _ENDLESS:
            raise self.violation("it never ends (4)")

    # For schedules that are written down.

    def go(self, actor, fault=None):
        """Let an actor take its next step; if it waits for time to pass, let it pass."""
        if actor.step.ready is not None and not actor.step.ready():
            self.make(Move("time", "passes", NOTHING, NOTHING))
        self.make(Move(actor.name, actor.step.name, actor.step.reads, actor.step.writes, fault))

    def until(self, actor, step):
        """Let an actor go on until it is about to take a certain step."""
        while actor.step is None or actor.step.name != step:
            assert not actor.done, f"{actor.name} never came to {step!r}"
            self.go(actor)

    def finish(self, *actors):
        """Let actors go on to their end, one after the other."""
        for actor in actors:
            while not actor.done:
                self.go(actor)

    def jump(self, seconds):
        """Let time pass while nobody moves."""
        self.make(Move("time", f"{seconds:+}", NOTHING, NOTHING))

    def violation(self, what):
        return Violation("\n  ".join([what, *map(str, self.schedule)]))

    def _go_on(self, actor, fault):
        self.faults_left -= fault is not None
        if fault is not None and fault == actor.end:
            if fault == DIES:
                actor.die()
                self.process(actor.place).died(actor.name)
            else:
                self._cancel(actor)
            return
        actor.go_on(fault)

    @staticmethod
    def _cancel(actor):
        with suppress(asyncio.CancelledError):
            actor.throw(asyncio.CancelledError())

    def _pass(self, name):
        if name == "passes":
            self.seconds += self.settings.fill_patience / 2
        else:
            self.jumps_left -= 1
            self.seconds += float(name)

    def _break_something(self, move):
        if move.actor != "redis":
            self.steps_back[move.actor] = HOUR
            return
        self.invariants.redis_lost()
        if move.name == "was emptied":
            self.redis.restore()
        elif move.name == "lost a message":
            for messages in self.redis.streams.values():
                messages.pop()
        else:
            self.redis.restore(self._snapshots[int(move.name.split()[-1])])

    def end(self):
        """See whether everything has been given back, now that all is over."""
        for process in self.processes.values():
            turns = process.core._turns
            if turns._value != self.settings.max_store_lookups:
                raise self.violation("a turn at the store was never given back (4)")

    def fingerprint(self):
        """Return what tells this state from all others that behave differently from here on."""
        return hash(
            (
                tuple(actor.state() for actor in self.actors.values()),
                tuple(process.state() for process in self.processes.values()),
                tuple((entity, event.version) for entity, event in self.store._events),
                self.redis.state(),
                self.invariants.state(),
                self.seconds,
                self.faults_left,
                self.jumps_left,
                tuple(self.steps_back),
                tuple(self._tokens.items()),
            )
        )
