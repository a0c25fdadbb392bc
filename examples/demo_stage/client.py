"""Real requests to a worker: what was answered, how fast, and where the key came from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from keymw import Propagation

#: Where a worker shows `keys.stats()`.
FIGURES = "/demo/figures"
STORE, L2, L1, NOWHERE = "store", "L2", "L1", "-"

#: Which counter of a worker has grown says where a request's key came from; the last resort first.
_SOURCES = {"store_reads": STORE, "l2_hits": L2, "l1_hits": L1, "l1_negative_hits": L1}
_OK = 200
#: Seconds beyond the promised bound after which a change is taken to be lost.
_PATIENCE = 2.0


@dataclass(frozen=True)
class Step:
    """One request of the story, and what must come of it."""

    words: str
    #: Number of the worker that is asked, 1 or 2.
    worker: int
    path: str
    token: str | None = field(repr=False)
    status: int
    #: Where the key may have come from.
    sources: tuple[str, ...]
    #: How a refusal's detail begins.
    detail: str = ""

    @property
    def expected(self) -> str:
        """The expectation, for people."""
        detail = f" {self.detail!r}" if self.detail else ""
        return f"{self.status}{detail} with the key from {' or '.join(self.sources)}"


@dataclass(frozen=True)
class Answer:
    """What a worker answered."""

    status: int
    #: The reason, of a refusal.
    code: str
    #: The sentence of a refusal, or the body.
    words: str
    source: str
    milliseconds: float

    def fits(self, step: Step) -> bool:
        """Say whether this is what the story expects."""
        fits = self.status == step.status and self.source in step.sources
        return fits and self.words.startswith(step.detail)


@dataclass(frozen=True)
class Held:
    """How fast a change held: milliseconds after the call returned, a worker."""

    call: float
    workers: tuple[float, ...]
    propagation: Propagation

    @property
    def in_time(self) -> bool:
        """Whether it held within the bound that the call itself has named."""
        return max(self.workers) <= self.propagation.bound.total_seconds() * 1000


class Worker:
    """One worker as a client sees it, over one connection that is kept."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Whatever proxy the environment names, the workers are on this machine.
        self._http = httpx.Client(base_url=url, timeout=10, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        """Send one request."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self._http.get(path, headers=headers)

    def figures(self) -> dict[str, int]:
        """Return the worker's own counters."""
        found: dict[str, int] = self.get(FIGURES).json()
        return found

    def ask(self, path: str, token: str | None) -> Answer:
        """Send one request, and look at the counters before and after it."""
        before = self.figures()
        began = perf_counter()
        response = self.get(path, token)
        milliseconds = (perf_counter() - began) * 1000
        after = self.figures()
        grown = [source for name, source in _SOURCES.items() if after[name] > before[name]]
        problem: Any = {} if response.status_code == _OK else response.json()
        return Answer(
            response.status_code,
            problem.get("code", ""),
            problem.get("detail", response.text),
            grown[0] if grown else NOWHERE,
            milliseconds,
        )

    def refuses(self, path: str, token: str, patience: float) -> float:
        """Ask until the key is refused; return the time at which that answer was there."""
        deadline = perf_counter() + patience
        while perf_counter() < deadline:
            if self.get(path, token).status_code != _OK:
                return perf_counter()
        raise RuntimeError(f"{self.url} still accepts a key that ended {patience:.0f} s ago.")


def hold(
    workers: Sequence[Worker], path: str, token: str, change: Callable[[], Propagation]
) -> Held:
    """Make a change that ends a token which every worker has in L1; see when each refuses it."""
    for worker in workers:
        worker.get(path, token)
        if worker.ask(path, token).source != L1:
            raise RuntimeError(f"{worker.url} does not have the key in L1: nothing to measure.")
    with ThreadPoolExecutor(len(workers)) as pool:
        began = perf_counter()
        propagation = change()
        returned = perf_counter()
        patience = propagation.bound.total_seconds() + _PATIENCE
        polls = [pool.submit(worker.refuses, path, token, patience) for worker in workers]
        times = tuple((poll.result() - returned) * 1000 for poll in polls)
    return Held((returned - began) * 1000, times, propagation)
