"""Keys that were made elsewhere, many at once: how rows are read, and what is refused of them.

A row is one line, in CSV too, so that a torn quote spoils its own line and not the rest of the
file. Nothing here raises over a row: it becomes a draft, or a rejection that says where, what and
why. A reason never repeats what may be a secret.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from keymw.drafts import imported_key
from keymw.errors import InvalidInput
from keymw.scopes import check_grant
from keymw.tokens import digest_of, parse_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from keymw.model import Key, Propagation
    from keymw.scopes import ScopeCatalog

#: Bytes of a line at the most: many times what a row can need.
MAX_LINE = 65_536
#: Rejections that a report spells out; of the rest it knows the number.
MAX_SHOWN = 100

_REQUIRED = ("kind", "label", "digest", "scopes")
_OPTIONAL = ("project_id", "user_id", "mask", "expires_at")
_ALIASES = {"project": "project_id", "user": "user_id"}
_COLUMNS = "kind, project or user, label, digest, scopes, mask, expires_at"
_MAX_REASON = 300
_SECRET = re.compile(r"[0-9A-Za-z]{32,}")


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
    return Rejection(line, name, _SECRET.sub("***", reason)[:_MAX_REASON])


def read_csv(file: BinaryIO) -> Iterator[Row | Rejection]:
    """Read comma-separated rows under a line with the names of their columns, in UTF-8."""
    columns: list[str] = []
    for line in _lines(file):
        read = line if isinstance(line, Rejection) else _cells(*line)
        if isinstance(read, Rejection):
            yield read
            if not columns:
                return
            continue
        number, cells = read
        if not columns:
            columns = [_ALIASES.get(cell.strip(), cell.strip()) for cell in cells]
            problem = _wrong_names(columns)
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
        if isinstance(line, Rejection):
            yield line
            continue
        number, text = line
        try:
            values = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
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


def check_rows(
    rows: Iterable[Row | Rejection | Mapping[str, object]],
    now: datetime,
    actor: str | None,
    catalog: ScopeCatalog | None,
) -> Iterator[Draft | Rejection]:
    """Return, for each row, what is to be stored or why not; plain mappings count as lines."""
    for number, row in enumerate(rows, 1):
        if isinstance(row, Rejection):
            yield row
            continue
        if not isinstance(row, Row):
            if not isinstance(row, Mapping):
                raise TypeError(f"rows: give mappings, not {type(row).__name__}.")
            row = Row(number, row)  # noqa: PLW2901 - the same, with its number
        try:
            yield _draft(row, now, actor, catalog)
        except InvalidInput as error:
            reason = str(error).removeprefix(f"{error.field}: ")
            yield reject(row.line, error.field or None, reason)


def _draft(row: Row, now: datetime, actor: str | None, catalog: ScopeCatalog | None) -> Draft:
    values = {_ALIASES.get(name, name): value for name, value in row.values.items()}
    if len(values) < len(row.values):
        raise InvalidInput("", "a column stands twice in it.")
    problem = _wrong_names([name for name, value in values.items() if value is not None])
    if problem:
        raise InvalidInput("", problem)
    kind = _text(values, "kind") or ""
    key = imported_key(
        now,
        kind,
        _text(values, "label") or "",
        _time(values.get("expires_at")),
        actor,
        project_id=_text(values, "project_id"),
        user_id=_text(values, "user_id"),
        mask=_text(values, "mask") or "",
    )
    digest = parse_digest(_text(values, "digest") or "")
    for name, shown in (("mask", key.mask), ("label", key.label)):
        if digest_of(shown) == digest:
            raise InvalidInput(name, "it is the secret itself, which must not be stored.")
    scopes = check_grant(key.kind, values["scopes"], catalog)  # type: ignore[arg-type]
    return Draft(row.line, replace(key, scopes=scopes), digest)


def _text(values: Mapping[str, object], name: str) -> str | None:
    """Return a string, for a number may be written in many ways and an id in one."""
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(name, f"give a string, not {type(value).__name__}.")
    return value


def _time(value: object) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise InvalidInput("expires_at", "write it as 2030-01-31T12:00:00Z.") from None


def _wrong_names(names: list[str]) -> str:
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


def _lines(file: BinaryIO) -> Iterator[tuple[int, str] | Rejection]:
    """Return the lines that are not blank, with their numbers."""
    number = 0
    while raw := file.readline(MAX_LINE + 1):
        number += 1
        if len(raw) > MAX_LINE:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE)
            yield reject(number, None, f"it is longer than {MAX_LINE} bytes.")
            continue
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            text = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            yield reject(number, None, "it is not UTF-8.")
            continue
        if "\0" in text or "\r" in text:
            yield reject(number, None, "it has a NUL or a carriage return in it.")
        elif text.strip(" \t"):
            yield number, text


def _cells(number: int, text: str) -> tuple[int, list[str]] | Rejection:
    try:
        return number, next(csv.reader([text], strict=True))
    except csv.Error:
        return reject(number, None, "its quotes do not match: a row is one line.")


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
