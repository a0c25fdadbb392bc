"""Between a key and its row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.model import Key
from keymw.principals import KeyKind
from keymw.store import statements as sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

_COLUMNS = tuple(column.name for column in sql.GET.selected_columns)


def to_key(row: Row[Any]) -> Key:
    """Return the key that a row of `statements.GET` holds."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
    fields["kind"] = KeyKind(fields["kind"])
    fields["scopes"] = frozenset(fields["scopes"].split())
    fields["projects"] = to_set(fields["projects"])
    fields["organizations"] = to_set(fields["organizations"])
    return Key(**fields)


def to_row(key: Key) -> dict[str, Any]:
    """Return a key as values of its columns, without the digest."""
    row = {name: getattr(key, name) for name in _COLUMNS}
    row["kind"] = key.kind.value
    row["scopes"] = " ".join(sorted(key.scopes))
    row["projects"] = None if key.projects is None else sorted(key.projects)
    row["organizations"] = None if key.organizations is None else sorted(key.organizations)
    return row


def to_set(ids: Sequence[str] | None) -> frozenset[str] | None:
    """Return ids as the set that they are; None is no limit."""
    return None if ids is None else frozenset(ids)
