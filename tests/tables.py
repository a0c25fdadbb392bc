"""Tables that the test run prints when it ends, and that the docs hold between two markers."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Printed:
    """A table of texts, whose first column names the rows."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


#: What the run prints.
_printed: list[Printed] = []


def add(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Have a table printed when all tests have run."""
    _printed.append(Printed(title, header, rows))


def added() -> tuple[Printed, ...]:
    """Return the tables that were added."""
    return tuple(_printed)


def drawn() -> str:
    """Return all tables that were added, as a terminal shows them."""
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False)
    for table in _printed:
        shown = Table(*table.header, title=table.title, title_justify="left", box=box.ASCII2)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    return out.getvalue()


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as the docs have it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _between(name: str) -> re.Pattern[str]:
    return re.compile(f"(<!-- {name} -->\n)(.*?)(\n<!-- end of {name} -->)", re.DOTALL)


def read(page: Path, name: str) -> list[list[str]]:
    """Return the lines of the table that a page holds between its markers, without the ruler."""
    table = _between(name).search(page.read_text())[2]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return [lines[0], *lines[2:]]


def write(page: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Put a table between a page's markers."""
    table = markdown(header, rows)
    text, found = _between(name).subn(lambda match: match[1] + table + match[3], page.read_text())
    assert found == 1, f"{page} has no place for {name}"
    page.write_text(text)
