"""Stores many keys at once, without keeping other changes waiting for them.

The rows go into a temporary table first, where nobody else is concerned: there they are held
against one another and against what is stored. Then one transaction copies those that are new, with
an event each. All changes stand in one line at the counter, so what is slow is done before that
line is joined: a large import gives its events numbers far above those in use, copies everything,
and only then takes the counter and moves it to its last event. The numbers between stay unused, and
still the order of numbers is the order of commits.

SQLite has one writer at a time: there the others wait for the copying.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from keymw.errors import NotMigrated, StoreUnavailable
from keymw.importing import MAX_SHOWN, Rejection, reject
from keymw.policy import key_entity
from keymw.ports import Imported, Invalidation, Update
from keymw.principals import KeyKind
from keymw.store import statements as sql
from keymw.store.activity import difference
from keymw.store.faults import translate
from keymw.store.rows import to_row
from keymw.store.schema import UtcTime, counter, events, keys, retired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keymw.importing import Draft

#: Rows that are handed to the database at once.
_BATCH = 2000
#: An import of up to so many keys holds the line up for so short that it needs no numbers apart.
_SMALL = 2000
#: Numbers left to the changes that others make while a large import is copied.
_ROOM = 1_000_000
#: How often an import is checked again that others have overtaken.
_ATTEMPTS = 3
#: Milliseconds that SQLite may wait for its lock: as good as for ever.
_NO_TIMEOUT = 2**31 - 1
#: SQLSTATE of a deadlock: somebody who had the counter made a key that is in the file.
_DEADLOCK = "40P01"

#: What has been found out about a row; nothing, if it is to be stored.
_KNOWN, _OTHERS, _TWICE, _PAST, _LABEL, _LABEL_TWICE = (
    "known",
    "others",
    "twice",
    "past",
    "label",
    "labels",
)
#: The column at fault, and why.
_REASONS = {
    _OTHERS: ("digest", "a key of another owner has, or had, this secret."),
    _TWICE: ("digest", "line {0} has the same one."),
    _PAST: ("expires_at", "it is in the past."),
    _LABEL: ("label", "the project already has a key with this label."),
    _LABEL_TWICE: ("label", "line {0} has the same one in this project."),
}

_staged = Table(
    "keymw_import",
    MetaData(),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("line", BigInteger, nullable=False),
    Column("id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("project_id", String(255)),
    Column("user_id", String(255)),
    Column("label", String(40), nullable=False),
    Column("mask", String(64), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(255)),
    Column("expires_at", UtcTime),
    Column("after", JSON, nullable=False),
    Column("found", String(8)),
    #: Place of the row that has the same.
    Column("first", Integer),
    prefixes=["TEMPORARY"],
)
_first = _staged.alias()
_STAGE = insert(_staged)
_COPIED = [
    *("id", "kind", "project_id", "user_id", "label", "mask", "digest", "scopes"),
    *("created_at", "created_by", "expires_at"),
]
_new = _staged.c.found.is_(None)
_is_project = _staged.c.kind == KeyKind.PROJECT_SECRET.value


def _repeated(*columns: Column[Any], found: str, only: Any) -> Any:
    """Mark rows that have the same as an earlier one."""
    twice = (
        select(*columns, func.min(_staged.c.place).label("earliest"))
        .where(only)
        .group_by(*columns)
        .having(func.count() > 1)
        .subquery()
    )
    same = [column == twice.c[column.name] for column in columns]
    return (
        update(_staged)
        .where(only, *same, _staged.c.place > twice.c.earliest)
        .values(found=found, first=twice.c.earliest)
    )


_same_owner = and_(
    keys.c.kind == _staged.c.kind,
    func.coalesce(keys.c.project_id, keys.c.user_id)
    == func.coalesce(_staged.c.project_id, _staged.c.user_id),
)
_verdict = {"found": case((_same_owner, _KNOWN), else_=_OTHERS)}
_CHECKS = (
    _repeated(_staged.c.digest, found=_TWICE, only=literal(1) == 1),
    update(_staged).where(_new, keys.c.digest == _staged.c.digest).values(_verdict),
    update(_staged)
    .where(_new, retired.c.digest == _staged.c.digest, keys.c.id == retired.c.key_id)
    .values(_verdict),
    update(_staged).where(_new, _staged.c.expires_at <= _staged.c.created_at).values(found=_PAST),
    update(_staged)
    .where(
        *(_new, _is_project, keys.c.kind == KeyKind.PROJECT_SECRET.value),
        *(keys.c.revoked_at.is_(None), keys.c.project_id == _staged.c.project_id),
        keys.c.label == _staged.c.label,
    )
    .values(found=_LABEL),
    _repeated(
        *(_staged.c.project_id, _staged.c.label),
        found=_LABEL_TWICE,
        only=and_(_new, _is_project),
    ),
)
_FORGET = update(_staged).values(found=None, first=None)
_COUNTS = select(_staged.c.found, func.count()).group_by(_staged.c.found)
_REJECTED = (
    select(_staged.c.line, _staged.c.found, _first.c.line.label("first"))
    .select_from(_staged.outerjoin(_first, _first.c.place == _staged.c.first))
    .where(_staged.c.found != _KNOWN)
    .order_by(_staged.c.place)
    .limit(MAX_SHOWN)
)
_COPY_KEYS = insert(keys).from_select(
    [*_COPIED, "version"],
    select(*(_staged.c[name] for name in _COPIED), literal(1))
    .where(_new)
    .order_by(_staged.c.place),
)
_COPY_EVENTS = insert(events).from_select(
    [
        *("seq", "at", "action", "entity", "version", "key_id", "project_id", "user_id"),
        *("actor", "before", "after"),
    ],
    select(
        bindparam("start", type_=BigInteger) + func.row_number().over(order_by=_staged.c.place),
        _staged.c.created_at,
        literal("imported"),
        literal(key_entity("")) + _staged.c.id,
        literal(1),
        *(_staged.c.id, _staged.c.project_id, _staged.c.user_id, _staged.c.created_by),
        literal({}, JSON),
        _staged.c.after,
    ).where(_new),
)
#: Joins the line of changes; the numbers are the next ones.
_TAKE = (
    update(counter)
    .where(counter.c.name == "events")
    .values(value=counter.c.value + bindparam("size"))
    .returning(counter.c.value)
)
#: The same, at the end: the numbers were chosen before, and nobody has come so far.
_MOVE = (
    update(counter)
    .where(counter.c.name == "events", counter.c.value <= bindparam("start"))
    .values(value=bindparam("last"))
    .returning(counter.c.value)
)
#: A secret that somebody has rolled away since the checks is held by no constraint.
_ROLLED_SINCE = (
    select(literal(1))
    .select_from(events)
    .join(retired, retired.c.key_id == events.c.key_id)
    .join(_staged, _staged.c.digest == retired.c.digest)
    .where(events.c.seq > bindparam("since"), events.c.seq <= bindparam("start"), _new)
    .limit(1)
)
_LAST = select(_staged.c.id).where(_new).order_by(_staged.c.place.desc()).limit(1)


class _Overtaken(Exception):  # noqa: N818 - it is none to others
    """Somebody has stored what is in the file since it was checked."""


@dataclass(frozen=True, slots=True)
class _Findings:
    new: int
    known: int
    rejected: int
    #: Number of the last event before the checks.
    since: int


def import_keys(
    drafts: Iterable[Draft], may_store: Callable[[int], bool], connection: Connection
) -> Imported:
    """Store the drafts that are new, in one transaction, if that is wanted; see `ports.Store`."""
    is_sqlite = connection.dialect.name == "sqlite"
    timeout = 0
    if is_sqlite:
        timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_NO_TIMEOUT}")
    else:
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("SET lock_timeout = 0")
    try:
        _stage(connection, drafts)
        return _store(connection, may_store)
    finally:
        if is_sqlite:
            connection.rollback()
            connection.exec_driver_sql("DROP TABLE IF EXISTS temp.keymw_import")
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {timeout}")
            connection.commit()
        else:
            # With it go the table and the timeouts.
            connection.invalidate()


def _begin(connection: Connection, how: str = "BEGIN") -> None:
    """Begin a transaction: of SQLite's, which keymw has in AUTOCOMMIT mode."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(how)


def _stage(connection: Connection, drafts: Iterable[Draft]) -> None:
    """Bring the rows where SQL can look at them, batch by batch."""
    _position(connection)
    _begin(connection)
    _staged.create(connection, checkfirst=False)
    connection.commit()
    numbered = enumerate(drafts, 1)
    while batch := list(islice(numbered, _BATCH)):
        _begin(connection)
        connection.execute(_STAGE, [_to_row(place, draft) for place, draft in batch])
        connection.commit()
    _begin(connection)
    for name, columns in (("digest", "digest, place"), ("label", "project_id, label, place")):
        connection.exec_driver_sql(f"CREATE INDEX keymw_import_{name} ON keymw_import ({columns})")
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("ANALYZE keymw_import")
    connection.commit()


def _to_row(place: int, draft: Draft) -> dict[str, Any]:
    row = to_row(draft.key)
    key = draft.key
    _, after = difference(None, Update("imported", key, key.created_at, key.created_by))
    own = {"place": place, "line": draft.line, "digest": draft.digest, "after": after}
    return {name: row[name] for name in _COPIED if name != "digest"} | own


def _store(connection: Connection, may_store: Callable[[int], bool]) -> Imported:
    for _ in range(_ATTEMPTS):
        found = _check(connection)
        rejections = _rejections(connection) if found.rejected else ()
        told = None
        is_wanted = may_store(found.rejected)
        if is_wanted and found.new:
            try:
                told = _copy(connection, found)
            except _Overtaken:
                connection.rollback()
                continue
        return Imported(is_wanted, found.new, found.known, found.rejected, rejections, told)
    raise StoreUnavailable("Others keep storing the keys that are being imported: repeat it.")


def _check(connection: Connection) -> _Findings:
    """Find out about each row. What is stored meanwhile, the copying comes upon."""
    since = _position(connection)
    _begin(connection)
    connection.execute(_FORGET)
    for check in _CHECKS:
        connection.execute(check)
    counts: dict[str | None, int] = {row[0]: row[1] for row in connection.execute(_COUNTS)}
    connection.commit()
    new, known = counts.pop(None, 0), counts.pop(_KNOWN, 0)
    return _Findings(new, known, sum(counts.values()), since)


def _position(connection: Connection) -> int:
    position = connection.execute(sql.POSITION).scalar()
    connection.commit()
    if position is None:
        raise NotMigrated
    return int(position)


def _rejections(connection: Connection) -> tuple[Rejection, ...]:
    found = []
    for row in connection.execute(_REJECTED):
        name, reason = _REASONS[row.found]
        found.append(reject(row.line, name, reason.format(row.first)))
    connection.commit()
    return tuple(found)


def _copy(connection: Connection, found: _Findings) -> Invalidation:
    """Store what is new and commit. Returns the last change, which stands for all of them."""
    is_small = found.new <= _SMALL or connection.dialect.name == "sqlite"
    try:
        _begin(connection, "BEGIN IMMEDIATE")
        if is_small:
            last = connection.execute(_TAKE, {"size": found.new}).scalar_one()
        else:
            last = found.since + _ROOM + found.new
        start = last - found.new
        connection.execute(_COPY_KEYS)
        connection.execute(_COPY_EVENTS, {"start": start})
        if not is_small and not connection.execute(_MOVE, {"start": start, "last": last}).first():
            raise _Overtaken
        if connection.execute(_ROLLED_SINCE, {"since": found.since, "start": start}).first():
            raise _Overtaken
        last_id = connection.execute(_LAST).scalar_one()
    except DBAPIError as error:
        if isinstance(error, IntegrityError) or _is_deadlock(error):
            raise _Overtaken from error
        raise
    try:
        connection.commit()
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(
            f"{translate(error)} It is not known whether the keys were stored: repeat it."
        ) from error
    return Invalidation(key_entity(last_id), 1, last)


def _is_deadlock(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _DEADLOCK
