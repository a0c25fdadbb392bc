"""What is found out about the rows of an import before they are stored, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, and_, case, func, literal, select, update

from keymw.importing import MAX_SHOWN, Rejection, reject
from keymw.principals import KeyKind
from keymw.store.schema import keys, retired
from keymw.store.staging import begin, is_new, position, staged

#: What is found out about a row.
_KNOWN, _OTHERS, _TWICE = "known", "others", "twice"
_PAST, _LABEL, _LABEL_TWICE = "past", "label", "labels"
#: The column at fault, and why.
_REASONS = {
    _OTHERS: ("digest", "a key of another owner has, or had, this secret."),
    _TWICE: ("digest", "line {0} has the same one."),
    _PAST: ("expires_at", "it is in the past."),
    _LABEL: ("label", "the project already has a key with this label."),
    _LABEL_TWICE: ("label", "line {0} has the same one in this project."),
}

_first = staged.alias()
_is_project = staged.c.kind == KeyKind.PROJECT_SECRET.value


def _repeated(*columns: Column[Any], found: str, only: Any) -> Any:
    """Mark rows that have the same as an earlier one."""
    twice = (
        select(*columns, func.min(staged.c.place).label("earliest"))
        .where(only)
        .group_by(*columns)
        .having(func.count() > 1)
        .subquery()
    )
    same = [column == twice.c[column.name] for column in columns]
    return (
        update(staged)
        .where(only, *same, staged.c.place > twice.c.earliest)
        .values(found=found, first=twice.c.earliest)
    )


_same_owner = and_(
    keys.c.kind == staged.c.kind,
    func.coalesce(keys.c.project_id, keys.c.user_id)
    == func.coalesce(staged.c.project_id, staged.c.user_id),
)
_verdict = {"found": case((_same_owner, _KNOWN), else_=_OTHERS)}
_CHECKS = (
    _repeated(staged.c.digest, found=_TWICE, only=literal(1) == 1),
    update(staged).where(is_new, keys.c.digest == staged.c.digest).values(_verdict),
    update(staged)
    .where(is_new, retired.c.digest == staged.c.digest, keys.c.id == retired.c.key_id)
    .values(_verdict),
    update(staged).where(is_new, staged.c.expires_at <= staged.c.created_at).values(found=_PAST),
    update(staged)
    .where(
        *(is_new, _is_project, keys.c.kind == KeyKind.PROJECT_SECRET.value),
        *(keys.c.revoked_at.is_(None), keys.c.project_id == staged.c.project_id),
        keys.c.label == staged.c.label,
    )
    .values(found=_LABEL),
    _repeated(
        *(staged.c.project_id, staged.c.label),
        found=_LABEL_TWICE,
        only=and_(is_new, _is_project),
    ),
)
_FORGET = update(staged).values(found=None, first=None)
_COUNTS = select(staged.c.found, func.count()).group_by(staged.c.found)
_REJECTED = (
    select(staged.c.line, staged.c.found, _first.c.line.label("first"))
    .select_from(staged.outerjoin(_first, _first.c.place == staged.c.first))
    .where(staged.c.found != _KNOWN)
    .order_by(staged.c.place)
    .limit(MAX_SHOWN)
)


@dataclass(frozen=True, slots=True)
class Findings:
    """How many rows are new, known and rejected."""

    new: int
    known: int
    rejected: int
    #: Number of the last event before the checks.
    since: int


def check(connection: Connection) -> Findings:
    """Find out about each row. What is stored meanwhile, the copying comes upon."""
    since = position(connection)
    begin(connection)
    connection.execute(_FORGET)
    for mark in _CHECKS:
        connection.execute(mark)
    counts: dict[str | None, int] = {row[0]: row[1] for row in connection.execute(_COUNTS)}
    connection.commit()
    new, known = counts.pop(None, 0), counts.pop(_KNOWN, 0)
    return Findings(new, known, sum(counts.values()), since)


def rejections(connection: Connection) -> tuple[Rejection, ...]:
    """Return the first of the rows that were rejected, and why."""
    found = []
    for row in connection.execute(_REJECTED):
        name, reason = _REASONS[row.found]
        found.append(reject(row.line, name, reason.format(row.first)))
    connection.commit()
    return tuple(found)
