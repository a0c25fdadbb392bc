"""Shows results as one table: on a terminal, and to be pasted into a page."""

from __future__ import annotations

import io
from math import inf

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

_WIDTH = 200


def show(results):
    """Return a table of results, in Markdown; a scenario's maxima where it was tried often."""
    table = Table(box=MARKDOWN)
    for heading in (
        "scenario",
        "tried",
        "acknowledged",
        "bound",
        *results[0].last_accept,
        "last accept",
        "wrongly refused",
        "503",
        "store reads",
        "recovery",
        "fits",
    ):
        table.add_column(
            heading, justify="left" if heading == "scenario" else "right", no_wrap=True
        )
    for rows in _grouped(results):
        table.add_row(*_row(rows))
    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(table)
    return "\n".join(line.strip() for line in text.getvalue().splitlines()).strip() + "\n"


def _grouped(results):
    """Put together what was promised the same: a bound belongs to each row."""
    groups = {}
    for each in results:
        promised = (each.acknowledged, each.bound)
        groups.setdefault(each.scenario, {}).setdefault(promised, []).append(each)
    return [rows for scenario in groups.values() for rows in scenario.values()]


def _row(rows):
    first = rows[0]
    workers = {name: max(row.last_accept[name] for row in rows) for name in first.last_accept}
    wrong = sum(bool(row.violations) for row in rows)
    return (
        first.scenario,
        str(len(rows)),
        {True: "yes", False: "no", None: "killed"}[first.acknowledged],
        _milliseconds(first.bound),
        *map(_milliseconds, workers.values()),
        _milliseconds(max(workers.values())),
        str(sum(row.wrongly_refused for row in rows)),
        str(max(row.outages for row in rows)),
        str(max(row.store_reads for row in rows)),
        _milliseconds(max(row.recovery for row in rows)),
        f"NO, {wrong}" if wrong else "yes",
    )


def _milliseconds(seconds):
    return "none" if seconds == -inf else f"{seconds * 1000:.0f} ms"
