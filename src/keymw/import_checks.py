"""What is refused of rows of keys that were made elsewhere, before any database is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from keymw.drafts import check_shown, imported_key
from keymw.errors import InvalidInput
from keymw.importing import ALIASES, Draft, Rejection, Row, reject, wrong_names
from keymw.scopes import check_grant
from keymw.tokens import parse_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keymw.scopes import ScopeCatalog


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
    values = {ALIASES.get(name, name): value for name, value in row.values.items()}
    if len(values) < len(row.values):
        raise InvalidInput("", "a column stands twice in it.")
    problem = wrong_names([name for name, value in values.items() if value is not None])
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
    check_shown(key, digest)
    scopes = values["scopes"]
    if isinstance(scopes, Mapping):
        raise InvalidInput("scopes", "give a list of scopes.")
    granted = check_grant(key.kind, scopes, catalog)  # type: ignore[arg-type]
    return Draft(row.line, replace(key, scopes=granted), digest)


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
