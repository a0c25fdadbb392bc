"""What every benchmark does alike: options, a progress bar, and how its figures are told.

A benchmark measures and returns figures, which are JSON. `publish` prints its tables, and puts the
figures with the machine, versions and date into `benchmarks/results/NAME.json`, and a plot of them
beside it, `NAME.svg`. Of a quick run, whose figures mean nothing, no file is written, except where
`--json FILE` says so.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shlex
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
#: What `--json` is without a file: standard output, and no tables there.
_STDOUT = "-"


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--quick` and `--json`: parameters `quick` and `target`."""
    quick = click.option(
        "--quick", is_flag=True, help="Only show that it works; the figures mean nothing."
    )
    target = click.option(
        "--json",
        "target",
        is_flag=False,
        flag_value=_STDOUT,
        default=None,
        metavar="[FILE]",
        callback=_writable,
        help="Figures as JSON on standard output instead of tables, or in a file beside them.",
    )
    return quick(target(command))


def _writable(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value not in (None, _STDOUT) and not Path(value).parent.is_dir():
        raise click.BadParameter(f"there is no folder {Path(value).parent}")
    return value


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a bar, and give what advances it, by one or by what it is called with.

    It is drawn only then: a thread of its own would disturb what is measured.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(label, total=total)

        def advance(count: int = 1) -> None:
            bar.advance(task, count)
            bar.refresh()

        yield advance


def table(title: str, *headings: str) -> Table:
    """Return an empty table: its first column is text, the others are numbers."""
    shown = Table(box=box.ASCII2, title=title, title_justify="left")
    for index, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if index else "left", no_wrap=bool(index))
    return shown


def publish(
    name: str,
    figures: Mapping[str, Any],
    tables: Sequence[Table | str],
    draw: Callable[[Mapping[str, Any]], Figure],
    *,
    target: str | None,
    quick: bool,
    packages: Sequence[str] = (),
) -> None:
    """Tell the figures of a run: tables, JSON and a plot.

    Args:
        name: of the benchmark, and of its files.
        figures: what was measured, as JSON has it; `machine` is added.
        tables: what is printed, in its order.
        draw: makes a plot of figures as the file has them.
        target: what `--json` said.
        quick: whether it was a quick run.
        packages: other packages whose versions count.
    """
    figures = {"benchmark": name, "machine": machine(*packages), **figures}
    text = json.dumps(figures, indent=1) + "\n"
    if target == _STDOUT:
        click.echo(text, nl=False)
    else:
        console = Console(width=100, highlight=False)
        facts = figures["machine"]
        console.print(f"{facts['python']}, {facts['cpus']} CPUs ({facts['cpu']}), {facts['date']}")
        for part in tables:
            console.print(part)
            console.print()
    if target not in (None, _STDOUT):
        path = Path(target)
    elif quick:
        return
    else:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.json"
    path.write_text(text, encoding="utf-8")
    import plots  # noqa: PLC0415 - a quick run draws nothing

    plots.save(draw(figures), path.with_suffix(".svg"))
    click.echo(f"{path} and {path.with_suffix('.svg').name} are written.", err=True)


def spread(times: Sequence[float]) -> dict[str, float]:
    """Return the median of some figures, and the least and the greatest."""
    return {"median": quantile(times, 0.5), "min": min(times), "max": max(times)}


def quantile(figures: Sequence[float], share: float) -> float:
    """Return the figure that the share of all figures does not exceed (nearest rank)."""
    return sorted(figures)[max(math.ceil(share * len(figures)), 1) - 1]


def machine(*packages: str) -> dict[str, Any]:
    """Return what figures depend on: the date, the machine, and versions of packages."""
    names = ("keymw", "redis", "sqlalchemy", *packages)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        **{name: version(name) for name in names},
    }


def _cpu() -> str:
    """Return the processor's name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", path.read_text()) if path.exists() else None
    return found[1] if found else platform.processor()
