"""Revokes keys while the workers watch them, with nothing broken and with connections cut."""

from __future__ import annotations

import random
import time
from time import monotonic
from typing import TYPE_CHECKING

from revocation_figures import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from revocation_contenders import Revoker
    from revocation_fleet import Fleet, Scissors

#: Revokes of one contender before it is the other's turn.
BATCH = 50
#: Revokes of each that are not counted: connections are opened, and modules imported.
_WARMING = 10
#: Seconds for which the workers ask for a key before it is revoked, at the most.
_BEFORE = 0.005

#: Seconds that the workers get to connect again.
_PATIENCE = 30.0


def _revoke(revoker: Revoker, fleet: Fleet, cut_off: float) -> tuple[Sample, list[float]]:
    """Revoke one key that all workers hold; the gaps between their checks come along."""
    token, handle = revoker.issue()
    fleet.watch(revoker.name, [token])
    time.sleep(random.uniform(0, _BEFORE))  # the workers' rounds must not fall into step with it
    called = monotonic()
    outcome = revoker.revoke(handle)
    returned = monotonic()
    reports = fleet.reports(cut_off)
    gaps = [gap for report in reports for gap in report.gaps]
    return Sample.of(reports, 0, called, returned, outcome), gaps


def healthy(
    revokers: Sequence[Revoker],
    fleet: Fleet,
    revokes: int,
    cut_off: float,
    advance: Callable[[int], object],
) -> tuple[dict[str, list[Sample]], list[float]]:
    """Revoke with nothing broken, a batch of each contender in turn; also return all gaps."""
    samples: dict[str, list[Sample]] = {revoker.name: [] for revoker in revokers}
    gaps: list[float] = []
    for revoker in revokers:
        for _ in range(_WARMING):
            _revoke(revoker, fleet, cut_off)
    for done in range(0, revokes, BATCH):
        count = min(BATCH, revokes - done)
        for revoker in revokers:
            for _ in range(count):
                sample, between = _revoke(revoker, fleet, cut_off)
                samples[revoker.name].append(sample)
                gaps += between
            advance(count)
    return samples, gaps


def _wait_for_listeners(scissors: Scissors, fleet: Fleet) -> None:
    deadline = monotonic() + _PATIENCE
    while scissors.listeners() < len(fleet):
        fleet.check()
        if monotonic() > deadline:
            raise RuntimeError(f"Not all workers listen again, {_PATIENCE:g} s after a cut.")
        time.sleep(0.005)


def cut(
    revoker: Revoker, fleet: Fleet, scissors: Scissors, revokes: int, cut_off: float
) -> list[Sample]:
    """Revoke keys one by one, each time with the workers' connections cut until it has returned.

    All keys are watched from before the first revoke until `cut_off` seconds after the last.
    """
    issued = [revoker.issue() for _ in range(revokes)]
    fleet.watch(revoker.name, [token for token, _ in issued])
    made = []
    for _, handle in issued:
        # Otherwise a revoke would only meet what the one before it has broken.
        _wait_for_listeners(scissors, fleet)
        with scissors.cutting():
            called = monotonic()
            outcome = revoker.revoke(handle)
            returned = monotonic()
        made.append((called, returned, outcome))
    reports = fleet.reports(cut_off)
    return [Sample.of(reports, index, *times) for index, times in enumerate(made)]
