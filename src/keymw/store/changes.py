"""Changes to keys and users, as plain functions over a connection.

How such a function is run is handed in (`runners.py`, `joined.py`). It begins by taking the next
event number, which locks the counter row: all changes stand in one line, so a check made inside one
still holds at its commit.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from keymw.errors import DigestTaken, KeyLimitReached, KeyNotFound, LabelTaken, NotMigrated
from keymw.policy import key_entity, user_entity
from keymw.ports import Changed, Invalidation, Update, UserChanged
from keymw.principals import KeyKind
from keymw.store import statements as sql
from keymw.store.activity import difference
from keymw.store.rows import to_key, to_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from keymw.model import Key

T = TypeVar("T")


class Writer(Protocol):
    """Runs functions over a connection. Raises `StoreUnavailable` and `NotMigrated`."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        ...


class SqlChanges:
    """The `Changes` port on SQLAlchemy Core."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def insert(
        self, key: Key, digest: bytes, action: str, actor: str | None, limit: int | None = None
    ) -> Changed:
        """Store a new key with its event, unless its owner has `limit` live keys already."""
        return await self._writer.write(partial(_insert, key, digest, action, actor, limit))

    async def change(self, key_id: str, plan: Callable[[Key], Update | None]) -> Changed:
        """Apply a plan to a key's current row."""
        try:
            return await self._writer.write(partial(_change, key_id, plan))
        except _Unchanged as unchanged:
            key: Changed = unchanged.found
            return key

    async def set_user(
        self, user_id: str, *, active: bool, at: datetime, actor: str | None
    ) -> UserChanged:
        """Say whether a user is active."""
        try:
            return await self._writer.write(partial(_set_user, user_id, active, at, actor))
        except _Unchanged as unchanged:
            user: UserChanged = unchanged.found
            return user


class _Unchanged(Exception):  # noqa: N818 - it is no error
    """Ends a transaction in which there was nothing to do."""

    def __init__(self, found: Any) -> None:
        #: What the method returns.
        self.found = found


def _insert(
    key: Key,
    digest: bytes,
    action: str,
    actor: str | None,
    limit: int | None,
    connection: Connection,
) -> Changed:
    seq = _next_seq(connection)
    _require_new(connection, key, digest)
    if limit is not None:
        _require_room(connection, key, limit)
    connection.execute(sql.INSERT_KEY, {**to_row(key), "digest": digest})
    _log(connection, seq, Update(action, key, key.created_at, actor), None)
    return Changed(key, Invalidation(key_entity(key.id), key.version, seq, (digest,)))


def _change(key_id: str, plan: Callable[[Key], Update | None], connection: Connection) -> Changed:
    seq = _next_seq(connection)
    row = connection.execute(sql.GET, {"key_id": key_id}).first()
    if row is None:
        raise KeyNotFound(key_id)
    before = to_key(row)
    wanted = plan(before)
    after = before if wanted is None else replace(wanted.key, version=before.version + 1)
    digest: bytes = connection.execute(sql.DIGEST, {"key_id": key_id}).scalar_one()
    retired = connection.execute(sql.RETIRED_DIGESTS, {"key_id": key_id}).scalars().all()
    if wanted is None:
        told = Invalidation(key_entity(key_id), after.version, 0, (digest, *retired))
        raise _Unchanged(Changed(after, told))
    _require_new(connection, after, wanted.digest)
    # Only what has changed: when it was last used, others may be writing just now.
    old_values = to_row(before)
    values = {name: new for name, new in to_row(after).items() if new != old_values[name]}
    if wanted.digest is not None:
        until = wanted.retired_until
        old = {"digest": digest, "key_id": key_id, "mask": before.mask, "seq": seq}
        connection.execute(sql.INSERT_RETIRED, {**old, "valid_until": until})
        values["digest"] = wanted.digest
    connection.execute(sql.UPDATE_KEY.values(values), {"key_id": key_id})
    _log(connection, seq, replace(wanted, key=after), before)
    return Changed(after, Invalidation(key_entity(key_id), after.version, seq, (digest, *retired)))


def _set_user(
    user_id: str,
    active: bool,  # noqa: FBT001
    at: datetime,
    actor: str | None,
    connection: Connection,
) -> UserChanged:
    seq = _next_seq(connection)
    known = connection.execute(sql.GET_USER, {"user_id": user_id}).first()
    was_active, version = (True, 0) if known is None else (known.active, known.version)
    digests = tuple(connection.execute(sql.USER_DIGESTS, {"user_id": user_id}).scalars())
    size = connection.execute(sql.USER_SIZE, {"owner": user_id, "now": at}).scalar_one()
    rows = connection.execute(sql.CREATED_BY, {"user_id": user_id, "now": at})
    created = tuple(to_key(row) for row in rows)
    if was_active == active:
        told = Invalidation(user_entity(user_id), version, 0, digests)
        raise _Unchanged(UserChanged(told, size, created))
    values = {"active": active, "version": version + 1, "changed_at": at}
    if known is None:
        connection.execute(sql.INSERT_USER, {"id": user_id, **values})
    else:
        connection.execute(sql.UPDATE_USER.values(values), {"user_id": user_id})
    event = {
        "seq": seq,
        "at": at,
        "action": "user_activated" if active else "user_deactivated",
        "entity": user_entity(user_id),
        "version": version + 1,
        "user_id": user_id,
        "actor": actor,
        "before": {"active": was_active},
        "after": {"active": active},
    }
    connection.execute(sql.INSERT_EVENT, event)
    told = Invalidation(user_entity(user_id), version + 1, seq, digests)
    return UserChanged(told, size, created)


def _next_seq(connection: Connection) -> int:
    value = connection.execute(sql.NEXT_SEQ).scalar()
    if value is None:
        raise NotMigrated
    return int(value)


def _require_new(connection: Connection, key: Key, digest: bytes | None) -> None:
    """Refuse a label or a secret that is taken; the counter's lock keeps it so until commit."""
    if digest is not None and connection.execute(sql.DIGEST_KNOWN, {"digest": digest}).first():
        raise DigestTaken
    if key.kind is not KeyKind.PROJECT_SECRET or key.revoked_at is not None:
        return
    wanted = {"project_id": key.project_id, "label": key.label, "key_id": key.id}
    if connection.execute(sql.LABEL_TAKEN, wanted).first():
        raise LabelTaken(key.label)


def _require_room(connection: Connection, key: Key, limit: int) -> None:
    """Refuse one key too many; the counter's lock keeps it so until commit."""
    owner, field, size = key.project_id, "project_id", sql.PROJECT_SIZE
    if key.kind is KeyKind.PERSONAL:
        owner, field, size = key.user_id, "user_id", sql.USER_SIZE
    wanted = {"owner": owner, "now": key.created_at}
    if connection.execute(size, wanted).scalar_one() >= limit:
        raise KeyLimitReached(field, limit)


def _log(connection: Connection, seq: int, change: Update, before: Key | None) -> None:
    """Write a change of a key into the activity log."""
    key = change.key
    old, new = difference(before, change)
    event = {
        "seq": seq,
        "at": change.at,
        "action": change.action,
        "entity": key_entity(key.id),
        "version": key.version,
        "key_id": key.id,
        "project_id": key.project_id,
        "user_id": key.user_id,
        "actor": change.actor,
        "before": old,
        "after": new,
        "reason": change.reason,
    }
    connection.execute(sql.INSERT_EVENT, event)
