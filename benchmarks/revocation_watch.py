"""What a worker does while a key is revoked: it asks for it again and again, and notes the times.

Times are those of the monotonic clock, which is one for all processes of a machine, in seconds. A
check counts from its start: that is when the request came in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds between two rounds of checks: a worker that never slept would keep the others waiting.
PAUSE = 0.0002
#: Seconds that a worker goes on to ask after a refusal: no key may come back.
_AFTERWARDS = 0.005
#: Seconds that a cache gets to hold a key.
_PATIENCE = 10.0
#: How many rounds are remembered, to say how closely was looked.
_ROUNDS = 256


class Answer(Enum):
    """What a cache says of a key."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    #: It could not tell: a 503, which is neither.
    UNKNOWN = "unknown"


class Checker(Protocol):
    """A cache as a worker sees it."""

    async def check(self, token: str) -> Answer:
        """Ask for a key."""
        ...

    async def holds(self, token: str) -> bool:
        """Ask for a key; True if it was accepted, and from the memory of the process."""
        ...


@dataclass(frozen=True)
class Watch:
    """Tells a worker to hold some keys, and to ask for them until each is refused."""

    contender: str
    tokens: Sequence[str] = field(repr=False)


@dataclass
class Seen:
    """What a worker saw of one key."""

    last_accept: float
    first_refusal: float | None = None
    #: Accepts after the first refusal.
    relapses: int = 0
    unknown: int = 0

    def note(self, began: float, answer: Answer) -> None:
        """Take down one check."""
        if answer is Answer.ACCEPTED:
            self.last_accept = began
            self.relapses += self.first_refusal is not None
        elif answer is Answer.UNKNOWN:
            self.unknown += 1
        elif self.first_refusal is None:
            self.first_refusal = began


@dataclass(frozen=True)
class Report:
    """What a worker saw of all keys, in their order."""

    seen: Sequence[Seen]
    #: Seconds between the starts of the last rounds, up to the one in which the last was refused.
    gaps: Sequence[float]


async def hold(checker: Checker, tokens: Sequence[str]) -> list[Seen]:
    """Ask for keys until the process has all of them in its memory.

    Raises:
        RuntimeError: it does not take one.
    """
    deadline = monotonic() + _PATIENCE
    found = []
    for token in tokens:
        began = monotonic()
        while not await checker.holds(token):
            if began > deadline:
                raise RuntimeError(f"A new key was not held in memory within {_PATIENCE:g} s.")
            await asyncio.sleep(PAUSE)
            began = monotonic()
        found.append(Seen(began))
    return found


async def watch(
    checker: Checker, tokens: Sequence[str], seen: list[Seen], told_to_stop: Callable[[], bool]
) -> Report:
    """Ask for keys until all have been refused for a while, or until told to stop."""
    rounds: deque[float] = deque(maxlen=_ROUNDS)
    end: float | None = None
    while not told_to_stop():
        now = monotonic()
        if end is None:
            rounds.append(now)
        elif now >= end:
            break
        for token, notes in zip(tokens, seen, strict=True):
            began = monotonic()
            notes.note(began, await checker.check(token))
        if end is None and all(notes.first_refusal is not None for notes in seen):
            end = monotonic() + _AFTERWARDS
        await asyncio.sleep(PAUSE)
    return Report(seen, [later - sooner for sooner, later in pairwise(rounds)])
