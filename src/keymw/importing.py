"""Keys that were made elsewhere, many at once: how files of them are read, and what is reported.

Nothing here raises over a row: it is read, or becomes a rejection that says where, what and why. A
reason never repeats what may be a secret.

A row is one line. In CSV a quoted cell may go on over several, and labels are what customers write:
so what is quoted is never read as rows, even if that costs the rest of a file with a torn quote.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keymw.model import Key, Propagation

#: Bytes of a line at the most: many times what a row can need.
MAX_LINE = 65_536
#: Rejections that a report spells out; of the rest it knows the number.
MAX_SHOWN = 100

_REQUIRED = ("kind", "label", "digest", "scopes")
_OPTIONAL = ("project_id", "user_id", "mask", "expires_at")
#: Shorter names of columns.
ALIASES = {"project": "project_id", "user": "user_id"}
_COLUMNS = "kind, project or user, label, digest, scopes, mask, expires_at"
_ONE = "a row is one line."
_MAX_REASON = 300
#: What may be a secret, or most of one: other tokens are shorter than keymw's.
_LONG = re.compile(r"[0-9A-Za-z_\-.~+/=]{16,}")
_TOO_LONG = 32


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was refused: where it stands, the column at fault if it is one, and why."""

    line: int
    field: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was read, by the names of its columns."""

    line: int
    values: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Draft:
    """A row that is good by itself; whether it fits to the others, the store knows."""

    line: int
    key: Key
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came of an import."""

    #: Whether the new keys have been stored; if not, nothing has.
    stored: bool
    #: Rows with keys that were not there.
    new: int
    #: Rows with keys that were there already, whatever has become of them since.
    known: int
    #: Rows that were refused.
    rejected: int
    #: The first hundred of them, by line.
    rejections: tuple[Rejection, ...]
    #: When the new keys work everywhere, if there are any.
    propagation: Propagation | None = None


def reject(line: int, name: str | None, reason: str) -> Rejection:
    """Return a rejection that repeats nothing secret and nothing endless."""
    return Rejection(line, name, _LONG.sub(_veil, reason)[:_MAX_REASON])


def _veil(found: re.Match[str]) -> str:
    """Return a word, if it is none that could be a secret: long names have no digits."""
    word = found[0]
    return "***" if len(word) >= _TOO_LONG or any(map(str.isdigit, word)) else word


def read_csv(file: BinaryIO) -> Iterator[Row | Rejection]:
    """Read comma-separated rows under a line with the names of their columns, in UTF-8."""
    columns: list[str] = []
    for line in _unquoted(_lines(file)):
        cells = line if isinstance(line, Rejection) else _cells(line)
        if isinstance(cells, Rejection):
            yield cells
            if not columns:
                return
            continue
        number = line.line
        if not columns:
            columns = [ALIASES.get(cell.strip(), cell.strip()) for cell in cells]
            problem = wrong_names(columns)
            if problem:
                yield reject(number, None, problem)
                return
        elif len(cells) != len(columns):
            yield reject(number, None, f"it has {len(cells)} cells, and the header {len(columns)}.")
        else:
            # An empty cell says nothing.
            values: dict[str, object] = {
                name: cell for name, cell in zip(columns, cells, strict=True) if cell
            }
            values["scopes"] = str(values.get("scopes", "")).replace(",", " ").split()
            yield Row(number, values)
    if not columns:
        yield reject(1, None, f"it is empty: begin with the names of its columns, {_COLUMNS}.")


def read_jsonl(file: BinaryIO) -> Iterator[Row | Rejection]:
    """Read JSON Lines: an object a line, in UTF-8."""
    for line in _lines(file):
        number = line.line
        if line.problem:
            yield reject(number, None, line.problem)
            continue
        try:
            values = json.loads(line.text, object_pairs_hook=_unique, parse_constant=_no_number)
        except _TwiceNamed as error:
            yield reject(number, None, f"{error.args[0]!r} stands twice in it.")
        except json.JSONDecodeError as error:
            yield reject(number, None, f"it is no JSON, from character {error.pos + 1} on.")
        except (ValueError, RecursionError):
            yield reject(number, None, "it is no JSON that can be read.")
        else:
            if isinstance(values, dict):
                yield Row(number, values)
            else:
                yield reject(number, None, "it is no JSON object.")


#: How files are read, by their format.
READERS: Mapping[str, Callable[[BinaryIO], Iterator[Row | Rejection]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
}


def wrong_names(names: list[str]) -> str:
    """Say what is wrong with the names of columns; nothing, if they are right."""
    unknown = [name for name in names if name not in (*_REQUIRED, *_OPTIONAL)]
    missing = [name for name in _REQUIRED if name not in names]
    if unknown:
        return f"there is no column {unknown[0]!r}: the columns are {_COLUMNS}."
    if missing:
        return f"it lacks {', '.join(missing)}: the columns are {_COLUMNS}."
    if len(set(names)) < len(names):
        return "a column stands twice in it."
    return ""


@dataclass(frozen=True, slots=True)
class _Line:
    line: int
    text: str = field(default="", repr=False)
    #: Why it cannot be read.
    problem: str = ""
    #: Whether quotes open in it that do not close, or the other way round.
    is_torn: bool = False


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """Return the lines that are not blank."""
    number = 0
    while raw := file.readline(MAX_LINE + 1):
        number += 1
        quotes = raw.count(b'"')
        if len(raw) > MAX_LINE:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE)
                quotes += raw.count(b'"')
            problem = f"it is longer than {MAX_LINE} bytes."
            yield _Line(number, problem=problem, is_torn=quotes % 2 == 1)
            continue
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        text = problem = ""
        try:
            text = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            problem = "it is not UTF-8."
        if "\0" in text or "\r" in text:
            problem = "it has a NUL or a carriage return in it."
        if problem or text.strip(" \t"):
            yield _Line(number, text, problem, is_torn=quotes % 2 == 1)


def _unquoted(lines: Iterator[_Line]) -> Iterator[_Line | Rejection]:
    """Return the lines that are rows; those that a quoted cell reaches over are one rejection."""
    opened = 0
    for line in lines:
        if opened:
            if line.is_torn:
                yield reject(opened, None, f"its quotes close in line {line.line} only: {_ONE}")
                opened = 0
        elif line.is_torn:
            opened = line.line
        elif line.problem:
            yield reject(line.line, None, line.problem)
        else:
            yield line
    if opened:
        yield reject(opened, None, f"its quotes do not close: {_ONE}")


def _cells(line: _Line) -> list[str] | Rejection:
    try:
        return next(csv.reader([line.text], strict=True))
    except csv.Error:
        return reject(line.line, None, "its quotes do not match.")


class _TwiceNamed(ValueError):  # noqa: N818 - it never leaves this module
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceNamed(name)
        found[name] = value
    return found


def _no_number(text: str) -> object:
    raise ValueError(text)
