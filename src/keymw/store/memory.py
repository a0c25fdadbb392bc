"""The `Store` port in a dict: the reference that the SQL store is held against.

No thread, no transaction and no database: each method runs through without suspending, which is
what makes it atomic.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keymw.errors import DigestTaken, KeyLimitReached, KeyNotFound, LabelTaken
from keymw.model import Event, Key, RetiredSecret
from keymw.policy import Record, key_entity, user_entity
from keymw.ports import Changed, Invalidation, Update, UserChanged
from keymw.principals import KeyKind
from keymw.store.activity import difference
from keymw.store.memory_import import import_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from keymw.importing import Draft
    from keymw.ports import Imported, Use


@dataclass(frozen=True, slots=True)
class _Secret:
    key_id: str
    mask: str
    #: None for the secret that the key has now.
    retired_until: datetime | None = None
    #: Number of the event by which it was replaced.
    seq: int = 0
    last_used_at: datetime | None = None


class MemoryStore:
    """Keys in memory; see `keymw.ports.Store` for what each method promises."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._secrets: dict[bytes, _Secret] = {}
        self._users: dict[str, tuple[bool, int]] = {}
        self._events: list[tuple[str, Event]] = []
        self._signing_keys = (secrets.token_bytes(32),)

    async def find(self, digest: bytes) -> Record | None:
        """Return what is known of a secret."""
        secret = self._secrets.get(digest)
        if secret is None:
            return None
        key = self._keys[secret.key_id]
        active, version = self._users.get(key.user_id or "", (True, 0))
        return Record(
            key_id=key.id,
            kind=key.kind,
            label=key.label,
            scopes=key.scopes,
            version=key.version,
            project_id=key.project_id,
            user_id=key.user_id,
            projects=key.projects,
            organizations=key.organizations,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
            retired_until=secret.retired_until,
            owner_active=active,
            owner_version=version,
            mask=secret.mask,
            position=len(self._events),
        )

    async def get(self, key_id: str) -> Key | None:
        """Return a key's row, with the secrets that it had before."""
        key = self._keys.get(key_id)
        if key is None:
            return None
        own = [secret for secret in self._secrets.values() if secret.key_id == key_id]
        own.sort(key=lambda secret: secret.seq, reverse=True)
        retired = tuple(
            RetiredSecret(secret.mask, secret.retired_until, secret.last_used_at)
            for secret in own
            if secret.retired_until is not None
        )
        return replace(key, retired=retired)

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
        found = [
            key
            for key in self._keys.values()
            if project_id in (None, key.project_id)
            and user_id in (None, key.user_id)
            and created_by in (None, key.created_by)
            and (include_revoked or key.revoked_at is None)
        ]
        if after is not None:
            if after not in self._keys:
                raise KeyNotFound(after)
            found = [key for key in found if _place(key) > _place(self._keys[after])]
        return sorted(found, key=_place)[:limit]

    async def insert(
        self, key: Key, digest: bytes, action: str, actor: str | None, limit: int | None = None
    ) -> Changed:
        """Store a new key with its event, unless its owner has `limit` live keys already."""
        self._require_new(key, digest)
        if limit is not None:
            self._require_room(key, limit)
        self._keys[key.id] = key
        self._secrets[digest] = _Secret(key.id, key.mask)
        seq = self._log(Update(action, key, key.created_at, actor), None)
        return Changed(key, Invalidation(key_entity(key.id), key.version, seq, (digest,)))

    async def change(self, key_id: str, plan: Callable[[Key], Update | None]) -> Changed:
        """Apply a plan to a key's current row."""
        before = self._keys.get(key_id)
        if before is None:
            raise KeyNotFound(key_id)
        wanted = plan(before)
        digests = tuple(
            digest for digest, secret in self._secrets.items() if secret.key_id == key_id
        )
        after, seq = before, 0
        if wanted is not None:
            after = replace(wanted.key, version=before.version + 1)
            self._require_new(after, wanted.digest)
            self._keys[key_id] = after
            seq = self._log(replace(wanted, key=after), before)
            if wanted.digest is not None and wanted.retired_until is not None:
                for digest in digests:
                    secret = self._secrets[digest]
                    if secret.retired_until is None:
                        retired = replace(secret, retired_until=wanted.retired_until, seq=seq)
                        self._secrets[digest] = retired
                self._secrets[wanted.digest] = _Secret(key_id, after.mask)
        return Changed(after, Invalidation(key_entity(key_id), after.version, seq, digests))

    async def set_user(
        self, user_id: str, *, active: bool, at: datetime, actor: str | None
    ) -> UserChanged:
        """Say whether a user is active."""
        was_active, version = self._users.get(user_id, (True, 0))
        digests = tuple(
            digest
            for digest, secret in self._secrets.items()
            if self._keys[secret.key_id].user_id == user_id
        )
        seq = 0
        if was_active != active:
            version += 1
            seq = len(self._events) + 1
            self._users[user_id] = (active, version)
            event = Event(
                seq=seq,
                at=at,
                action="user_activated" if active else "user_deactivated",
                version=version,
                key_id=None,
                project_id=None,
                user_id=user_id,
                actor=actor,
                before={"active": was_active},
                after={"active": active},
            )
            self._events.append((user_entity(user_id), event))
        live = [key for key in self._keys.values() if _is_live(key, at)]
        made = [key for key in live if key.project_id and key.created_by == user_id]
        return UserChanged(
            Invalidation(user_entity(user_id), version, seq, digests),
            sum(key.user_id == user_id for key in live),
            tuple(sorted(made, key=_place)),
        )

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
        replaced = {secret.seq: secret.last_used_at for secret in self._secrets.values()}
        found = [
            replace(event, old_secret_last_used_at=replaced.get(event.seq))
            for _, event in reversed(self._events)
            if key_id in (None, event.key_id)
            and project_id in (None, event.project_id)
            and user_id in (None, event.user_id)
            and actor in (None, event.actor)
            and (before is None or event.seq < before)
        ]
        return found[:limit]

    async def import_keys(
        self, drafts: Iterable[Draft], may_store: Callable[[int], bool]
    ) -> Imported:
        """Store the keys that are new, if that is wanted."""
        return await import_keys(self, self._secrets, self._keys, drafts, may_store)

    async def touch(self, uses: Sequence[Use]) -> Sequence[str]:
        """Note when keys were last used; nobody else is ever changing one meanwhile."""
        for use in uses:
            key, secret = self._keys.get(use.key_id), self._secrets.get(use.digest)
            if key is not None and _is_later(use.at, key.last_used_at):
                self._keys[key.id] = replace(key, last_used_at=use.at)
            if secret is None or secret.retired_until is None:
                continue
            _, replaced = self._events[secret.seq - 1]
            if _is_later(use.at, secret.last_used_at) and use.at > replaced.at:
                self._secrets[use.digest] = replace(secret, last_used_at=use.at)
        return ()

    async def feed(self, after: int, limit: int) -> tuple[int, Sequence[Invalidation]]:
        """Return the number of the last event, and the newest events above `after`, in order."""
        return len(self._events), [
            Invalidation(entity, event.version, event.seq)
            for entity, event in self._events[after:][-limit:]
        ]

    async def position(self) -> int:
        """Return the number of the last event."""
        return len(self._events)

    async def signing_keys(self) -> Sequence[bytes]:
        """Return the keys that sign shared values, oldest first."""
        return self._signing_keys

    async def migrate(self) -> None:
        """Do nothing: there are no tables."""

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    def _require_new(self, key: Key, digest: bytes | None) -> None:
        if digest is not None and digest in self._secrets:
            raise DigestTaken
        if key.kind is not KeyKind.PROJECT_SECRET or key.revoked_at is not None:
            return
        for other in self._keys.values():
            same = (other.project_id, other.label) == (key.project_id, key.label)
            if same and other.revoked_at is None and other.id != key.id:
                raise LabelTaken(key.label)

    def _require_room(self, key: Key, limit: int) -> None:
        field = "project_id" if key.kind is KeyKind.PROJECT_SECRET else "user_id"
        owner = getattr(key, field)
        own = [other for other in self._keys.values() if getattr(other, field) == owner]
        if sum(_is_live(other, key.created_at) for other in own) >= limit:
            raise KeyLimitReached(field, limit)

    def _log(self, change: Update, before: Key | None) -> int:
        old, new = difference(before, change)
        key = change.key
        event = Event(
            seq=len(self._events) + 1,
            at=change.at,
            action=change.action,
            version=key.version,
            key_id=key.id,
            project_id=key.project_id,
            user_id=key.user_id,
            actor=change.actor,
            before=old,
            after=new,
            reason=change.reason,
        )
        self._events.append((key_entity(key.id), event))
        return event.seq


def _place(key: Key) -> tuple[datetime, str]:
    """Where a key stands in a list."""
    return key.created_at, key.id


def _is_live(key: Key, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def _is_later(at: datetime, known: datetime | None) -> bool:
    return known is None or at > known
