"""The `Store` port in a dict: the reference that the SQL store is held against.

No thread, no transaction and no database: each method runs through without suspending, which is
what makes it atomic.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keymw.errors import DigestTaken, KeyNotFound, LabelTaken
from keymw.model import Event, Key
from keymw.policy import Record, key_entity, user_entity
from keymw.ports import Changed, Invalidation
from keymw.principals import KeyKind
from keymw.store.activity import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from keymw.ports import Update


@dataclass(frozen=True, slots=True)
class _Secret:
    key_id: str
    #: None for the secret that the key has now.
    retired_until: datetime | None = None


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
            position=len(self._events),
        )

    async def get(self, key_id: str) -> Key | None:
        """Return a key's row."""
        return self._keys.get(key_id)

    async def list(
        self, *, project_id: str | None, user_id: str | None, include_revoked: bool
    ) -> Sequence[Key]:
        """Return keys, oldest first."""
        found = [
            key
            for key in self._keys.values()
            if project_id in (None, key.project_id)
            and user_id in (None, key.user_id)
            and (include_revoked or key.revoked_at is None)
        ]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    async def insert(self, key: Key, digest: bytes, action: str, actor: str | None) -> Changed:
        """Store a new key with its event."""
        self._require_new(key, digest)
        self._keys[key.id] = key
        self._secrets[digest] = _Secret(key.id)
        seq = self._log(key.created_at, action, actor, None, key)
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
            if wanted.digest is not None:
                for digest in digests:
                    if self._secrets[digest].retired_until is None:
                        self._secrets[digest] = _Secret(key_id, wanted.retired_until)
                self._secrets[wanted.digest] = _Secret(key_id)
            seq = self._log(wanted.at, wanted.action, wanted.actor, before, after)
        return Changed(after, Invalidation(key_entity(key_id), after.version, seq, digests))

    async def set_user(
        self, user_id: str, *, active: bool, at: datetime, actor: str | None
    ) -> Invalidation:
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
        return Invalidation(user_entity(user_id), version, seq, digests)

    async def history(
        self, *, key_id: str | None, project_id: str | None, user_id: str | None, limit: int
    ) -> Sequence[Event]:
        """Return the activity log, newest first."""
        found = [
            event
            for _, event in reversed(self._events)
            if key_id in (None, event.key_id)
            and project_id in (None, event.project_id)
            and user_id in (None, event.user_id)
        ]
        return found[:limit]

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

    def _log(
        self, at: datetime, action: str, actor: str | None, before: Key | None, after: Key
    ) -> int:
        old, new = difference(before, after)
        event = Event(
            seq=len(self._events) + 1,
            at=at,
            action=action,
            version=after.version,
            key_id=after.id,
            project_id=after.project_id,
            user_id=after.user_id,
            actor=actor,
            before=old,
            after=new,
        )
        self._events.append((key_entity(after.id), event))
        return event.seq
