"""Who contends, and how they take turns: the same for ASGI and WSGI."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "pass-through"
FLOOR = "scan, sha256, dict"
HAND_WRITTEN = "hand-written"
STARLETTE = "Starlette's, with a dict"
KEYMW = "keymw"
VIEW = "keymw, and a view"
SCOPES = "require_scopes"
PROJECT = "require_scopes, project"

#: How often a round is repeated in which L1 has missed.
_PATIENCE = 10
#: What the view's app is compared with: the same view without the decorator.
_BASES = {SCOPES: VIEW, PROJECT: VIEW}


@dataclass
class Contender:
    """Something that serves the request."""

    name: str
    #: Serves the request so many times.
    serve: Callable[[int], None]
    #: Microseconds a request, a round.
    times: list[float] = field(default_factory=list)

    @property
    def base(self) -> str:
        """What it adds its time to."""
        return _BASES.get(self.name, BASE)

    @property
    def hits(self) -> bool:
        """Whether keymw's L1 must have answered each of its requests."""
        return self.name in (KEYMW, VIEW, SCOPES, PROJECT)


@dataclass
class Face:
    """All contenders of one interface, and how keymw's cache is kept warm and looked at."""

    name: str
    contenders: list[Contender]
    #: Asks keymw for the key, outside of what is measured.
    warm: Callable[[], object]
    #: Returns how many requests L1 has answered.
    count: Callable[[], int]

    def run(self, rounds: int, requests: int) -> dict[str, float]:
        """Return what each adds to its base in microseconds, as the median of some rounds.

        The base's own time is given under its name. Differences are taken within a round.
        """
        for contender in self.contenders:
            contender.times.clear()
        for turn in range(rounds):
            for _ in range(_PATIENCE):
                if self._round(requests, turn % len(self.contenders)):
                    break
            else:
                raise SystemExit(f"{self.name}: L1 misses a key it should have: nothing measured.")
        times = {contender.name: contender.times for contender in self.contenders}
        added = {
            contender.name: median(
                own - base for own, base in zip(contender.times, times[contender.base], strict=True)
            )
            for contender in self.contenders
        }
        return added | {BASE: median(times[BASE])}

    def _round(self, requests: int, first: int) -> bool:
        """Time each contender once; False, and nothing is kept, if keymw had to look further.

        It does when the entry's time has come, or as it begins to listen for changes.
        """
        self.warm()
        before = self.count()
        times: list[float] = []
        order = self.contenders[first:] + self.contenders[:first]
        for contender in order:
            began = perf_counter()
            contender.serve(requests)
            times.append((perf_counter() - began) / requests * 1e6)
        if self.count() - before != requests * sum(contender.hits for contender in order):
            return False
        for contender, time in zip(order, times, strict=True):
            contender.times.append(time)
        return True
