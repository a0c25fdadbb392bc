"""The `Store` port on SQLAlchemy Core. Each operation is one plain function over a connection.

What differs between blocking and asynchronous services is only how such a function is run, and that
is handed in (`runners.py`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from keymw.errors import KeyNotFound, NotMigrated
from keymw.model import Event, Key, RetiredSecret
from keymw.policy import Record
from keymw.ports import Invalidation
from keymw.principals import KeyKind
from keymw.store import statements as sql
from keymw.store.bulk import import_keys
from keymw.store.changes import SqlChanges
from keymw.store.rows import to_key, to_set
from keymw.store.schema import events
from keymw.store.uses import touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection

    from keymw.importing import Draft
    from keymw.ports import Imported, Use
    from keymw.store.runners import Runner


class SqlStore(SqlChanges):
    """Keys in SQLite or PostgreSQL; see `keymw.ports.Store` for what each method promises."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self._run = runner

    async def find(self, digest: bytes) -> Record | None:
        """Return what is known of a secret."""
        return await self._run.read(partial(_find, digest))

    async def get(self, key_id: str) -> Key | None:
        """Return a key's row, with the secrets that it had before."""
        return await self._run.read(partial(_get, key_id))

    async def list(
        self,
        *,
        project_id: str | None,
        user_id: str | None,
        created_by: str | None = None,
        include_revoked: bool,
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[Key]:
        """Return keys, oldest first: `limit` of those that come after the one with id `after`."""
        wanted = {"project_id": project_id, "user_id": user_id, "created_by": created_by}
        return await self._run.read(partial(_list, wanted, include_revoked, limit, after))

    async def history(
        self,
        *,
        key_id: str | None,
        project_id: str | None,
        user_id: str | None,
        actor: str | None = None,
        limit: int,
        before: int | None = None,
    ) -> Sequence[Event]:
        """Return the activity log, newest first: `limit` events before the one of that number."""
        about = {"key_id": key_id, "project_id": project_id, "user_id": user_id, "actor": actor}
        return await self._run.read(partial(_history, about, limit, before))

    async def import_keys(
        self, drafts: Iterable[Draft], may_store: Callable[[int], bool]
    ) -> Imported:
        """Store the keys that are new, in one transaction, if that is wanted."""
        return await self._run.alone(partial(import_keys, drafts, may_store))

    async def touch(self, uses: Sequence[Use]) -> Sequence[str]:
        """Note when keys were last used; returns the ids of those that were not to be had."""
        return await self._run.write(partial(touch, uses))

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
        mask=row.mask,
        position=row.position,
    )


def _get(key_id: str, connection: Connection) -> Key | None:
    row = connection.execute(sql.GET, {"key_id": key_id}).first()
    # Asked in either case: how long it takes must not tell whether somebody has such a key.
    rows = connection.execute(sql.RETIRED, {"key_id": key_id}).all()
    if row is None:
        return None
    return replace(to_key(row), retired=tuple(RetiredSecret(*each) for each in rows))


def _list(
    wanted: dict[str, str | None],
    include_revoked: bool,  # noqa: FBT001
    limit: int | None,
    after: str | None,
    connection: Connection,
) -> Sequence[Key]:
    statement = sql.LIST if after is None else sql.LIST_AFTER
    columns = statement.selected_columns
    for name, value in wanted.items():
        if value is not None:
            statement = statement.where(columns[name] == value)
    if not include_revoked:
        statement = statement.where(columns["revoked_at"].is_(None))
    given = {} if after is None else {"after": after}
    found = [to_key(row) for row in connection.execute(statement.limit(limit), given)]
    if found or after is None or connection.execute(sql.KNOWN_KEYS, {"ids": [after]}).first():
        return found
    raise KeyNotFound(after)


def _history(
    about: dict[str, str | None], limit: int, before: int | None, connection: Connection
) -> Sequence[Event]:
    statement = sql.HISTORY
    if before is not None:
        statement = statement.where(events.c.seq < before)
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
            reason=row.reason,
            old_secret_last_used_at=row.old_secret_last_used_at,
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
