"""How the rows of an import that are new become keys, while others go on changing theirs.

All changes stand in one line at the counter, so what is slow is done before that line is joined: a
large import gives its events numbers far above those in use, copies everything, and only then takes
the counter and moves it to its last event. The numbers between stay unused, and still the order of
numbers is the order of commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    bindparam,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from keymw.errors import StoreUnavailable
from keymw.policy import key_entity
from keymw.ports import Invalidation
from keymw.store.faults import translate
from keymw.store.schema import counter, events, keys, retired
from keymw.store.staging import COPIED, begin_change, is_new, staged

if TYPE_CHECKING:
    from keymw.store.staged_checks import Findings

#: An import of up to so many keys holds the line up for so short that it needs no numbers apart.
_SMALL = 2000
#: Numbers left to the changes that others make while a large import is copied.
_ROOM = 1_000_000
#: SQLSTATE of a deadlock: somebody who had the counter made a key that is in the file.
_DEADLOCK = "40P01"

_COPY_KEYS = insert(keys).from_select(
    [*COPIED, "version"],
    select(*(staged.c[name] for name in COPIED), literal(1)).where(is_new).order_by(staged.c.place),
)
_COPY_EVENTS = insert(events).from_select(
    [
        *("seq", "at", "action", "entity", "version", "key_id", "project_id", "user_id"),
        *("actor", "before", "after"),
    ],
    select(
        bindparam("start", type_=BigInteger) + func.row_number().over(order_by=staged.c.place),
        staged.c.created_at,
        literal("imported"),
        literal(key_entity("")) + staged.c.id,
        literal(1),
        *(staged.c.id, staged.c.project_id, staged.c.user_id, staged.c.created_by),
        literal({}, JSON),
        staged.c.after,
    ).where(is_new),
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
    .join(staged, staged.c.digest == retired.c.digest)
    .where(events.c.seq > bindparam("since"), events.c.seq <= bindparam("start"), is_new)
    .limit(1)
)
_LAST = select(staged.c.id).where(is_new).order_by(staged.c.place.desc()).limit(1)


class Overtaken(Exception):  # noqa: N818 - it is none to others
    """Somebody has stored what is in the file since it was checked."""


def copy(connection: Connection, found: Findings) -> Invalidation:
    """Store what is new and commit. Returns the last change, which stands for all of them."""
    is_small = found.new <= _SMALL or connection.dialect.name == "sqlite"
    try:
        begin_change(connection)
        if is_small:
            last = connection.execute(_TAKE, {"size": found.new}).scalar_one()
        else:
            last = found.since + _ROOM + found.new
        start = last - found.new
        connection.execute(_COPY_KEYS)
        connection.execute(_COPY_EVENTS, {"start": start})
        if not is_small and not connection.execute(_MOVE, {"start": start, "last": last}).first():
            raise Overtaken
        if connection.execute(_ROLLED_SINCE, {"since": found.since, "start": start}).first():
            raise Overtaken
        last_id = connection.execute(_LAST).scalar_one()
    except DBAPIError as error:
        if isinstance(error, IntegrityError) or _is_deadlock(error):
            raise Overtaken from error
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
