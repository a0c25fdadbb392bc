"""Runs coroutines in every order there is.

Flows are coroutines over ports, so a port of the model can stop at each point where something else
may happen, by awaiting a `Step`. A *move* lets one actor go on from there to its next stop, or lets
a fault happen. A *schedule* is a sequence of moves; it is replayed from the start, because
coroutines cannot be copied.

Not every order is tried: moves that touch nothing in common commute, so of two schedules that
differ in their order only, one is enough (Mazurkiewicz traces: recognised by `Trace` before
anything is run); and a state that was reached before is not gone on from again (`fingerprint`).
"""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import partial

from keymw.cache.local import Entry

NOTHING = frozenset()


class Violation(AssertionError):  # noqa: N818 - it is the finding that is looked for
    """The protocol broke its promise; the message has the schedule that led there."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an actor is about to do."""

    name: str
    #: What it reads or changes of what others use, too.
    reads: frozenset = NOTHING
    writes: frozenset = NOTHING
    #: What else may become of it, if faults are allowed.
    faults: tuple[str, ...] = ()
    #: Whether it can be done yet.
    ready: object = None


@types.coroutine
def stop_at(step):
    """Wait until the actor's turn has come; returns the fault that befalls it, or None."""
    return (yield step)


@dataclass(frozen=True, slots=True)
class Move:
    """One actor's next step, or a fault."""

    actor: str
    name: str
    reads: frozenset
    writes: frozenset
    #: None: all goes well.
    fault: str | None = None

    def __str__(self):
        return f"{self.actor}: {self.name}" + (f" [{self.fault}]" if self.fault else "")


class Actor:
    """A coroutine that stops at steps."""

    def __init__(self, name, place, coroutine, uses, end=None):
        self.name = name
        #: The process that it runs in.
        self.place = place
        self.coroutine = coroutine
        #: Everything that it may ever touch.
        self.uses = frozenset(uses)
        #: How it may end before its time, if faults are allowed.
        self.end = end
        self.step = None
        self._state = None
        self.go_on()

    @property
    def done(self):
        return self.step is None

    def go_on(self, fault=None):
        self._resume(self.coroutine.send, fault)

    def throw(self, error):
        self._resume(self.coroutine.throw, error)

    def die(self):
        self.coroutine.close()
        self.step = self._state = None

    def _resume(self, resume, value):
        self._state = None
        try:
            self.step = resume(value)
        except StopIteration:
            self.step = None
        except BaseException:
            self.step = None
            raise

    def state(self):
        """Return where the coroutine stands, and what it remembers."""
        if self._state is None:
            self._state = () if self.step is None else self._frames()
        return self._state

    def _frames(self):
        frames, inner = [self.step.name], self.coroutine
        while inner is not None:
            frame = getattr(inner, "cr_frame", None)
            if frame is None:
                break
            frames.append((frame.f_lasti, content(frame.f_locals)))
            inner = inner.cr_await
        return tuple(frames)


#: Where an entry stands in its cache: nothing is evicted here.
_PLACE = ("key", "older", "newer", "visited")


def content(value):
    """Return something hashable that is equal for equal values, whatever their identity."""
    kind = type(value)
    how = _CONTENT.get(kind)
    if how is None:
        how = _CONTENT[kind] = _how(kind)
    return how(value)


def _how(kind):
    """Return how the content of values of a type is told; by nothing, if it is found elsewhere."""
    if issubclass(kind, (type(None), int, float, str, bytes, datetime, Enum, frozenset)):
        how = _itself
    elif issubclass(kind, (tuple, list)):
        how = _items
    elif kind is dict:
        how = _pairs
    elif kind is Entry:
        how = partial(_fields, [name for name in Entry.__slots__ if name not in _PLACE])
    elif getattr(kind, "__dataclass_params__", None) and kind.__dataclass_params__.frozen:
        how = partial(_fields, [each.name for each in dataclasses.fields(kind) if each.compare])
    else:
        how = getattr(kind, "remembered", _nothing)
    return how


def _itself(value):
    return value


def _nothing(_):
    return None


def _items(value):
    return tuple(map(content, value))


def _pairs(value):
    return tuple((key, content(value[key])) for key in value)


def _fields(names, value):
    return tuple(content(getattr(value, name)) for name in names)


_CONTENT = {}


class Trace:
    """What has happened so far, whatever the order of moves that touch nothing in common."""

    def __init__(self):
        self._actors = {}
        self._written = {}
        self._read = {}
        self._sum = 0

    def _event(self, move):
        parts = [self._actors.get(move.actor, 0), move.name, move.fault]
        for name in sorted(move.writes):
            parts += [name, self._written.get(name, 0), self._read.get(name, 0)]
        for name in sorted(move.reads - move.writes):
            parts += [name, self._written.get(name, 0)]
        return hash(tuple(parts))

    def after(self, move):
        """Return what tells this trace, with a further move, from all others."""
        before = hash((move.actor, self._actors.get(move.actor, 0)))
        return self._sum - before + hash((move.actor, self._event(move)))

    def add(self, move):
        event = self._event(move)
        self._sum = self.after(move)
        self._actors[move.actor] = event
        for name in move.writes:
            self._written[name], self._read[name] = event, 0
        for name in move.reads - move.writes:
            self._read[name] = self._read.get(name, 0) + event


@dataclass
class Explored:
    """How much was tried."""

    schedules: int = 0
    states: set = field(default_factory=set)

    def __str__(self):
        return f"{self.schedules} schedules, {len(self.states)} states"


def explore(make_world, most=None):
    """Try every schedule of a world; raises `Violation` at the first one that breaks a promise.

    A world has `moves()`, `make(move)`, `fingerprint()` and `end()`.
    """
    explored = Explored()
    traces = set()
    waiting = [()]
    while waiting:
        explored.schedules += 1
        if most is not None and explored.schedules > most:
            raise RuntimeError(f"more than {most} schedules: the scenario is too big")
        _follow(make_world(), waiting.pop(), waiting, traces, explored)
    return explored


def _follow(world, begun, waiting, traces, explored):
    """Replay the beginning of a schedule, then go on until nothing new comes; note what else is."""
    trace, path = Trace(), []

    def go(move):
        path.append(move)
        trace.add(move)
        world.make(move)

    for move in begun:
        go(move)
    while True:
        if path:
            state = world.fingerprint()
            if state in explored.states:
                return
            explored.states.add(state)
        moves = world.moves()
        if not moves:
            world.end()
            return
        fresh = []
        for move in moves:
            key = trace.after(move)
            if key not in traces:
                traces.add(key)
                fresh.append(move)
        if not fresh:
            return
        waiting.extend((*path, move) for move in fresh[1:])
        go(fresh[0])
