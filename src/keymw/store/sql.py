"""The `Store` port on SQLAlchemy Core. Each operation is one plain function over a connection.

What differs between blocking and asynchronous services is only how such a function is run, and that
is handed in (`runners.py`). A write begins by taking the next event number, which locks the counter
row: all writes stand in one line, so a check made inside a write still holds at its commit.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from keymw.errors import DigestTaken, KeyNotFound, LabelTaken, NotMigrated
from keymw.model import Event, Key
from keymw.policy import Record, key_entity, user_entity
from keymw.ports import Changed, Invalidation
from keymw.principals import KeyKind
from keymw.store import statements as sql
from keymw.store.activity import difference
from keymw.store.rows import to_key, to_row, to_set
from keymw.store.schema import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from keymw.ports import Update
    from keymw.store.runners import Runner


class SqlStore:
    """Keys in SQLite or PostgreSQL; see `keymw.ports.Store` for what each method promises."""

    def __init__(self, runner: Runner) -> None:
        self._run = runner

    async def find(self, digest: bytes) -> Record | None:
        """Return what is known of a secret."""
        return await self._run.read(partial(_find, digest))

    async def get(self, key_id: str) -> Key | None:
        """Return a key's row."""
        return await self._run.read(partial(_get, key_id))

    async def list(
        self, *, project_id: str | None, user_id: str | None, include_revoked: bool
    ) -> Sequence[Key]:
        """Return keys, oldest first."""
        owner = {"project_id": project_id, "user_id": user_id}
        return await self._run.read(partial(_list, owner, include_revoked))

    async def insert(self, key: Key, digest: bytes, action: str, actor: str | None) -> Changed:
        """Store a new key with its event."""
        return await self._run.write(partial(_insert, key, digest, action, actor))

    async def change(self, key_id: str, plan: Callable[[Key], Update | None]) -> Changed:
        """Apply a plan to a key's current row."""
        return await self._run.write(partial(_change, key_id, plan))

    async def set_user(
        self, user_id: str, *, active: bool, at: datetime, actor: str | None
    ) -> Invalidation:
        """Say whether a user is active."""
        return await self._run.write(partial(_set_user, user_id, active, at, actor))

    async def history(
        self, *, key_id: str | None, project_id: str | None, user_id: str | None, limit: int
    ) -> Sequence[Event]:
        """Return the activity log, newest first."""
        about = {"key_id": key_id, "project_id": project_id, "user_id": user_id}
        return await self._run.read(partial(_history, about, limit))

    async def feed(self, after: int, limit: int) -> tuple[int, Sequence[Invalidation]]:
        """Return the number of the last event, and the newest events above `after`, in order."""
        return await self._run.read(partial(_feed, after, limit))

    async def position(self) -> int:
        """Return the number of the last event."""
        return await self._run.read(_position)

    async def signing_keys(self) -> Sequence[bytes]:
        """Return the keys that sign shared values, oldest first."""
        return await self._run.read(_signing_keys)

    async def migrate(self) -> None:
        """Make or upgrade the tables."""
        await self._run.migrate()

    async def aclose(self) -> None:
        """Give back the connections; the store may be used again."""
        await self._run.aclose()


def _find(digest: bytes, connection: Connection) -> Record | None:
    # A digest stands in one row at the most: whoever adds one looks at both tables first.
    row = connection.execute(sql.FIND, {"digest": digest}).first()
    if row is None:
        return None
    return Record(
        key_id=row.id,
        kind=KeyKind(row.kind),
        label=row.label,
        scopes=frozenset(row.scopes.split()),
        version=row.version,
        project_id=row.project_id,
        user_id=row.user_id,
        projects=to_set(row.projects),
        organizations=to_set(row.organizations),
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        retired_until=row.retired_until,
        owner_active=row.owner_active is not False,
        owner_version=row.owner_version or 0,
        position=row.position,
    )


def _get(key_id: str, connection: Connection) -> Key | None:
    row = connection.execute(sql.GET, {"key_id": key_id}).first()
    return None if row is None else to_key(row)


def _list(
    owner: dict[str, str | None],
    include_revoked: bool,  # noqa: FBT001
    connection: Connection,
) -> Sequence[Key]:
    statement = sql.LIST
    columns = statement.selected_columns
    for name, value in owner.items():
        if value is not None:
            statement = statement.where(columns[name] == value)
    if not include_revoked:
        statement = statement.where(columns["revoked_at"].is_(None))
    return [to_key(row) for row in connection.execute(statement)]


def _insert(
    key: Key, digest: bytes, action: str, actor: str | None, connection: Connection
) -> Changed:
    seq = _next_seq(connection)
    _require_new(connection, key, digest)
    connection.execute(sql.INSERT_KEY, {**to_row(key), "digest": digest})
    _log(connection, seq, key.created_at, action, actor, None, key)
    return Changed(key, Invalidation(key_entity(key.id), key.version, seq, (digest,)))


def _change(key_id: str, plan: Callable[[Key], Update | None], connection: Connection) -> Changed:
    seq = _next_seq(connection)
    before = _get(key_id, connection)
    if before is None:
        raise KeyNotFound(key_id)
    wanted = plan(before)
    after = before if wanted is None else replace(wanted.key, version=before.version + 1)
    digest: bytes = connection.execute(sql.DIGEST, {"key_id": key_id}).scalar_one()
    retired = connection.execute(sql.RETIRED_DIGESTS, {"key_id": key_id}).scalars().all()
    if wanted is not None:
        _require_new(connection, after, wanted.digest)
        values = to_row(after)
        if wanted.digest is not None:
            old = {"digest": digest, "key_id": key_id, "mask": before.mask}
            connection.execute(sql.INSERT_RETIRED, {**old, "valid_until": wanted.retired_until})
            values["digest"] = wanted.digest
        connection.execute(sql.UPDATE_KEY.values(values), {"key_id": key_id})
        _log(connection, seq, wanted.at, wanted.action, wanted.actor, before, after)
    else:
        connection.rollback()
        seq = 0
    return Changed(after, Invalidation(key_entity(key_id), after.version, seq, (digest, *retired)))


def _set_user(
    user_id: str,
    active: bool,  # noqa: FBT001
    at: datetime,
    actor: str | None,
    connection: Connection,
) -> Invalidation:
    seq = _next_seq(connection)
    known = connection.execute(sql.GET_USER, {"user_id": user_id}).first()
    was_active, version = (True, 0) if known is None else (known.active, known.version)
    digests = tuple(connection.execute(sql.USER_DIGESTS, {"user_id": user_id}).scalars())
    if was_active == active:
        connection.rollback()
        return Invalidation(user_entity(user_id), version, 0, digests)
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
    return Invalidation(user_entity(user_id), version + 1, seq, digests)


def _history(about: dict[str, str | None], limit: int, connection: Connection) -> Sequence[Event]:
    statement = sql.HISTORY
    for name, value in about.items():
        if value is not None:
            statement = statement.where(events.c[name] == value)
    return [
        Event(
            seq=row.seq,
            at=row.at,
            action=row.action,
            version=row.version,
            key_id=row.key_id,
            project_id=row.project_id,
            user_id=row.user_id,
            actor=row.actor,
            before=row.before,
            after=row.after,
        )
        for row in connection.execute(statement, {"limit": limit})
    ]


def _feed(after: int, limit: int, connection: Connection) -> tuple[int, Sequence[Invalidation]]:
    rows = connection.execute(sql.FEED, {"after": after, "limit": limit}).all()
    if not rows:
        raise NotMigrated
    changes = [Invalidation(row.entity, row.version, row.seq) for row in rows if row.seq]
    return int(rows[0].position), changes


def _position(connection: Connection) -> int:
    value = connection.execute(sql.POSITION).scalar()
    if value is None:
        raise NotMigrated
    return int(value)


def _signing_keys(connection: Connection) -> Sequence[bytes]:
    found = connection.execute(sql.SIGNING_KEYS).scalars().all()
    if not found:
        raise NotMigrated
    return found


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


def _log(
    connection: Connection,
    seq: int,
    at: datetime,
    action: str,
    actor: str | None,
    before: Key | None,
    after: Key,
) -> None:
    old, new = difference(before, after)
    event = {
        "seq": seq,
        "at": at,
        "action": action,
        "entity": key_entity(after.id),
        "version": after.version,
        "key_id": after.id,
        "project_id": after.project_id,
        "user_id": after.user_id,
        "actor": actor,
        "before": old,
        "after": new,
    }
    connection.execute(sql.INSERT_EVENT, event)
