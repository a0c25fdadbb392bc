"""From what was seen of each revoke to the figures, the tables and the JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from report import quantile
from revocation_contenders import KEYMW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from revocation_contenders import Outcome
    from revocation_watch import Report

#: What keymw promises where all is well: milliseconds, p99.
PROMISE = 50.0


@dataclass(frozen=True)
class Sample:
    """One revoke. Milliseconds, from its return; negative is before it."""

    #: The start of the last accepted check in any process.
    last_accept: float
    #: The start of the first refused check in the process that was the last to refuse; None if one
    #: never did as long as it was watched.
    first_refusal: float | None
    #: How long the call took.
    call: float
    outcome: Outcome
    relapses: int
    unknown: int

    @classmethod
    def of(
        cls, reports: Sequence[Report], index: int, called: float, returned: float, outcome: Outcome
    ) -> Sample:
        """Put together what all workers saw of the key with that index."""
        seen = [report.seen[index] for report in reports]
        refusals = [notes.first_refusal for notes in seen if notes.first_refusal is not None]
        return cls(
            last_accept=(max(notes.last_accept for notes in seen) - returned) * 1000,
            first_refusal=(
                (max(refusals) - returned) * 1000 if len(refusals) == len(seen) else None
            ),
            call=(returned - called) * 1000,
            outcome=outcome,
            relapses=sum(notes.relapses for notes in seen),
            unknown=sum(notes.unknown for notes in seen),
        )


def spread(figures: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and the maximum."""
    return {"p50": quantile(figures, 0.5), "p99": quantile(figures, 0.99), "max": max(figures)}


def summary(samples: Sequence[Sample], cut_off: float) -> dict[str, Any]:
    """Return the figures of one contender; `cut_off` in seconds, and all times in milliseconds."""
    refusals = [s.first_refusal for s in samples if s.first_refusal is not None]
    return {
        "n": len(samples),
        "last_accept": spread([s.last_accept for s in samples]),
        "first_refusal": spread(refusals) if refusals else None,
        "call": spread([s.call for s in samples]),
        "share_not_accepted_after": sum(s.last_accept < 0 for s in samples) / len(samples),
        "share_refused_before": sum(figure < 0 for figure in refusals) / len(samples),
        "still_accepted_at_cut_off": sum(s.last_accept >= cut_off * 1000 for s in samples),
        "unacknowledged": sum(not s.outcome.acknowledged for s in samples),
        "bound": max(s.outcome.bound for s in samples) * 1000,
        "accepted_after_a_refusal": sum(s.relapses for s in samples),
        "unavailable": sum(s.unknown for s in samples),
        "samples": [
            {"last_accept": s.last_accept, "first_refusal": s.first_refusal, "call": s.call}
            for s in samples
        ],
    }


def _table(title: str, *headings: str) -> Table:
    """Return an empty table, with headings of two lines."""
    shown = Table(box=box.ASCII2, title=title, title_justify="left")
    shown.add_column("\ncontender")  # the one that may be wrapped
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    return shown


def healthy_table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the figures of the case in which nothing is broken."""
    shown = _table(
        "All well: milliseconds from the return of the revoke, over all processes",
        *("\nn", "last accept\np50", "\np99", "\nmax", "none\nafter"),
        *("all refuse\np50", "\np99", "\nmax", "\nbefore"),
    )
    for name, figures in found.items():
        accepts, refusals = figures["last_accept"], figures["first_refusal"]
        shown.add_row(
            name,
            str(figures["n"]),
            *(f"{figure:.2f}" for figure in accepts.values()),
            f"{figures['share_not_accepted_after']:.1%}",
            *(f"{figure:.2f}" for figure in refusals.values()),
            f"{figures['share_refused_before']:.1%}",
        )
    return shown


def cut_table(found: Mapping[str, Mapping[str, Any]], cut_off: float) -> Table:
    """Return the figures of the case in which the workers' connections to Redis are cut."""
    shown = _table(
        "The workers' connections to Redis cut during the revoke: milliseconds",
        *("\nn", "last accept\np50", "\nmax", f"accepted\nafter {cut_off:g} s"),
        "says it holds\nafter",
    )
    for name, figures in found.items():
        spread = figures["last_accept"]
        shown.add_row(
            name,
            str(figures["n"]),
            *(_capped(spread[which], cut_off) for which in ("p50", "max")),
            f"{figures['still_accepted_at_cut_off']} of {figures['n']}",
            f"{figures['bound']:.0f}" if name == KEYMW else f"TTL, {figures['bound']:.0f}",
        )
    return shown


def _capped(figure: float, cut_off: float) -> str:
    return f"> {cut_off * 1000:.0f}" if figure >= cut_off * 1000 else f"{figure:.2f}"


def verdicts(
    healthy: Mapping[str, Mapping[str, Any]], cut: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, bool]]:
    """Return what keymw promises, and whether it was kept."""
    well, broken = healthy[KEYMW], cut[KEYMW]
    p99, worst, bound = well["last_accept"]["p99"], broken["last_accept"]["max"], broken["bound"]
    again = well["accepted_after_a_refusal"] + broken["accepted_after_a_refusal"]
    return [
        (f"all well, p99 below {PROMISE:.0f} ms", p99 < PROMISE),
        (f"cut off, never beyond the {bound:.0f} ms that revoke() has named", worst <= bound),
        ("no key accepted again after a refusal", again == 0),
        ("no 503 where all is well", well["unavailable"] == 0),
    ]
