"""The command that takes over keys that customers have already."""

from __future__ import annotations

import io
import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from keymw.cli import output as out
from keymw.cli.common import actor as actor_option
from keymw.cli.common import spread_line, uses_keys
from keymw.cli.program import cli
from keymw.importing import READERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keymw.importing import ImportReport, Rejection, Row
    from keymw.service import KeyService

_FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_BOM = b"\xef\xbb\xbf"
#: Rows between two moves of the bar.
_STEP = 1000
#: Bytes that are looked at to tell a format.
_GLANCE = 4096


@cli.command("import")
@click.argument(
    "path",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    default="-",
    metavar="[FILE]",
)
@click.option("--format", "form", type=click.Choice(sorted(READERS)), help="Told from the file.")
@click.option("--partial", is_flag=True, help="Store the good rows though others are rejected.")
@click.option("--dry-run", is_flag=True, help="Store nothing; say what would be done.")
@actor_option
@uses_keys
def import_keys(
    keys: KeyService,
    path: str,
    form: str | None,
    *,
    partial: bool,
    dry_run: bool,
    actor: str | None,
    as_json: bool,
) -> None:
    """Store keys that were made elsewhere, from CSV or JSON Lines.

    The columns are kind, project or user, label, digest (sha256$...), scopes, and if wanted mask
    and expires_at. Either all new rows are stored or none; a key that is there already stays as it
    is, so that an import may be repeated. The exit status is 1 if a row was rejected.
    """
    with _open(path) as file:
        read = READERS[form or _recognize(path, file)]
        with _bar() as bar:
            rows = _watched(read(file), file, bar)
            with _stopped_in_time():
                report = keys.import_keys(rows, partial=partial, dry_run=dry_run, actor=actor)
    done = _say(report, dry_run=dry_run, would_store=partial or not report.rejected)
    try:
        _print(report, done, as_json=as_json)
    except OSError as error:
        lost = f"{done}, but the report could not be written"
        raise OSError(error.errno, f"{lost} ({error.strerror})") from error
    if report.rejected:
        raise click.exceptions.Exit(1)


@contextmanager
def _open(path: str) -> Iterator[io.BufferedReader[Any]]:
    """Open a file, or standard input, which stays open."""
    if path != "-":
        with Path(path).open("rb") as file:
            yield file
        return
    if sys.stdin is None:
        raise ValueError("import: standard input is closed: name a file.")
    reader = io.BufferedReader(cast("io.RawIOBase", sys.stdin.buffer))
    try:
        yield reader
    finally:
        reader.detach()


def _recognize(path: str, file: io.BufferedReader[Any]) -> str:
    """Return a file's format by its name; that of a stream by its first character."""
    known = _FORMATS.get(Path(path).suffix.lower())
    if known is not None:
        return known
    start = file.peek(_GLANCE).removeprefix(_BOM).lstrip()
    if not start:
        raise ValueError("import: it is empty: give CSV or JSON Lines, or say --format.")
    return "jsonl" if start.startswith(b"{") else "csv"


@contextmanager
def _stopped_in_time() -> Iterator[None]:
    """Say what a key on the keyboard has stopped."""
    try:
        yield
    except KeyboardInterrupt:
        raise ValueError(
            "stopped: none of the keys was stored, or all if it was at the very end: repeat it."
        ) from None


def _bar() -> Progress:
    """Return a bar for standard error, which shows nothing where that is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    terminal = sys.stderr is not None and sys.stderr.isatty()
    console = Console(file=sys.stderr, force_terminal=terminal)
    return Progress(*columns, console=console, disable=not terminal, transient=True)


def _watched(
    rows: Iterator[Row | Rejection], file: io.BufferedReader[Any], bar: Progress
) -> Iterator[Row | Rejection]:
    """Hand rows on, and show how far they have come in the file."""
    size = _size(file)
    task = bar.add_task("Reading", total=size, rows=0)
    number = 0
    for number, row in enumerate(rows, 1):
        if number % _STEP == 0:
            bar.update(task, completed=file.tell() if size else 0, rows=number)
        yield row
    # How long the database takes, nobody knows.
    bar.update(task, description="Checking and storing", total=None, rows=number)


def _size(file: io.BufferedReader[Any]) -> int | None:
    """Return the size of a file; None for a stream."""
    try:
        found = os.fstat(file.fileno())
    except OSError:  # it has no descriptor
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _say(report: ImportReport, *, dry_run: bool, would_store: bool) -> str:
    if report.stored:
        return f"{_rows(report.new)} stored"
    if dry_run and would_store:
        return f"{_rows(report.new)} would be stored"
    tense = "would be" if dry_run else "was"
    return f"Nothing {tense} stored, of {_rows(report.new)} that could be"


def _print(report: ImportReport, done: str, *, as_json: bool) -> None:
    if as_json:
        told = report.propagation
        shown = None if told is None else out.spread(told)
        out.document(out.values(report) | {"propagation": shown})
        return
    for each in report.rejections:
        column = "" if each.field is None else f"{each.field}: "
        out.complain(f"line {each.line}: {column}{each.reason}")
    more = report.rejected - len(report.rejections)
    if more:
        out.complain(f"and {more} more.")
    click.echo(f"{done}; {report.known} there already; {report.rejected} rejected.")
    if report.propagation is not None:
        click.echo(spread_line(report.propagation, "takes them"))


def _rows(number: int) -> str:
    return f"{number} key" if number == 1 else f"{number} keys"
