"""The public changes to keys, written once for blocking and asynchronous services."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from keymw import flows
from keymw.drafts import imported_key, new_key
from keymw.inputs import check_actor, check_id, check_label
from keymw.principals import KeyKind
from keymw.queries import Queries
from keymw.tokens import parse_digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keymw.inputs import Id
    from keymw.model import IssuedKey, Key, Propagation


class Operations(Queries):
    """Everything that can be asked about keys, and done with them."""

    async def migrate(self) -> None:
        """Make or upgrade the tables.

        Safe to run again, and from several processes at once.

        Raises:
            StoreUnavailable: the database cannot be reached or changed.
        """
        await self._lasting(self._deps().store.migrate())

    async def issue_project_key(
        self,
        project_id: Id,
        label: str,
        scopes: Iterable[str],
        *,
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> IssuedKey:
        """Make a project secret key, which belongs to the project and outlives whoever made it.

        Args:
            project_id: compared as a string, exactly.
            label: 1 to 40 printable characters, unique among the project's live keys.
            scopes: `object:read` or `object:write`, one at least.
            expires_at: aware time from which the key is refused; None is never.
            actor: who makes it, for the activity log and as `created_by`.

        Returns:
            The key's row and its token, which is shown this once.

        Raises:
            InvalidInput: an argument is refused (`LabelTaken` for the label); nothing is stored.
            StoreUnavailable: the database cannot answer.
        """
        now = self._clock.now()
        key = new_key(now, KeyKind.PROJECT_SECRET, label, expires_at, actor, project_id=project_id)
        return await self._lasting(flows.issue(self._deps(), key, scopes, key.created_by))

    async def issue_personal_key(
        self,
        user_id: Id,
        label: str,
        scopes: Iterable[str],
        *,
        projects: Iterable[Id] | None = None,
        organizations: Iterable[Id] | None = None,
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> IssuedKey:
        """Make a personal key, which ends with its user's access.

        Args:
            user_id: whose key it is.
            label: 1 to 40 printable characters.
            scopes: `object:read`, `object:write`, or `*` for everything.
            projects: ids of projects that the key is limited to; None is no limit.
            organizations: ids of organizations that the key is limited to; None is no limit.
            expires_at: aware time from which the key is refused; None is never.
            actor: who makes it, for the activity log and as `created_by`.

        Raises:
            InvalidInput: an argument is refused; nothing is stored.
            StoreUnavailable: the database cannot answer.
        """
        key = new_key(
            self._clock.now(),
            KeyKind.PERSONAL,
            label,
            expires_at,
            actor,
            user_id=user_id,
            projects=projects,
            organizations=organizations,
        )
        return await self._lasting(flows.issue(self._deps(), key, scopes, key.created_by))

    async def import_key(
        self,
        kind: KeyKind | str,
        digest: str,
        label: str,
        scopes: Iterable[str],
        *,
        project_id: Id | None = None,
        user_id: Id | None = None,
        mask: str = "",
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> Key:
        """Store a key whose secret was made elsewhere and is known by its digest only.

        Tokens without keymw's length and checksum are refused unread unless
        `Settings.accept_unchecksummed` names the kind.

        Args:
            kind: whom the key belongs to.
            digest: `sha256$<hex>` or plain hex of SHA-256 of the whole token.
            label: as in `issue_project_key`.
            scopes: as in `issue_project_key`.
            project_id: for a project secret key.
            user_id: for a personal key.
            mask: what people may see of the token; up to 64 characters.
            expires_at: as in `issue_project_key`.
            actor: as in `issue_project_key`.

        Raises:
            InvalidInput: an argument is refused (`DigestTaken` for a secret that is known).
            StoreUnavailable: the database cannot answer.
        """
        key = imported_key(
            self._clock.now(),
            kind,
            label,
            expires_at,
            actor,
            project_id=project_id,
            user_id=user_id,
            mask=mask,
        )
        change = flows.adopt(self._deps(), key, parse_digest(digest), scopes, key.created_by)
        return await self._lasting(change)

    async def update(
        self,
        key_id: str,
        *,
        label: str | None = None,
        scopes: Iterable[str] | None = None,
        actor: str | None = None,
        wait: bool = False,
    ) -> Key:
        """Change a key's label or scopes; what is not given stays.

        Args:
            key_id: which key.
            label: as in `issue_project_key`.
            scopes: as in `issue_project_key`.
            actor: who does it, for the activity log.
            wait: as in `revoke`.

        Returns:
            The key as it is now; its `propagation` says when that holds everywhere.

        Raises:
            KeyNotFound: there is none with this id.
            KeyNotUsable: it is revoked or expired.
            InvalidInput: an argument is refused; nothing is changed.
            StoreUnavailable: the database cannot answer.
        """
        key = check_id("key_id", key_id)
        label = None if label is None else check_label(label)
        change = flows.update(self._deps(), key, label, scopes, check_actor(actor))
        changed = await self._lasting(change)
        return await self._settled(changed, wait=wait)

    async def roll(
        self,
        key_id: str,
        *,
        grace: timedelta = timedelta(0),
        actor: str | None = None,
        wait: bool = False,
    ) -> IssuedKey:
        """Give a key a new secret; id, label and scopes stay.

        Args:
            key_id: which key.
            grace: how long the old secret still works. Rolling again never extends it, and
                revoking ends it at once.
            actor: who does it, for the activity log.
            wait: as in `revoke`.

        Raises:
            KeyNotFound: there is none with this id.
            KeyNotUsable: it is revoked or expired.
            InvalidInput: the grace is negative or no timedelta.
            StoreUnavailable: the database cannot answer.
        """
        key = check_id("key_id", key_id)
        change = flows.roll(self._deps(), key, grace, check_actor(actor))
        rolled = await self._lasting(change)
        return await self._settled(rolled, wait=wait)

    async def revoke(
        self, key_id: str, *, actor: str | None = None, wait: bool = False
    ) -> Propagation:
        """End a key for good, with the secrets that it had before.

        Revoking a revoked key changes nothing and tells every process once more.

        Args:
            key_id: which key.
            actor: who does it, for the activity log.
            wait: return only when no process accepts the key any more, whatever has broken: after
                `Settings.unacknowledged_bound`.

        Returns:
            Whether Redis has told the other processes, and how long one of them may still accept
            the key: `timedelta(0)` after `wait`.

        Raises:
            KeyNotFound: there is none with this id.
            StoreUnavailable: the database cannot answer. Its connection may have broken in the
                midst of the commit, so whether the key is revoked is not known: repeat it.
        """
        key = check_id("key_id", key_id)
        told = await self._lasting(flows.revoke(self._deps(), key, check_actor(actor)))
        return await self._settled(told, wait=wait)

    async def deactivate_user(
        self, user_id: Id, *, actor: str | None = None, wait: bool = False
    ) -> Propagation:
        """End all personal keys of a user in one step; project keys are not touched.

        The user need not be known before. `wait` is as in `revoke`.

        Raises:
            StoreUnavailable: the database cannot answer; repeat it, as for `revoke`.
        """
        user = check_id("user_id", user_id)
        change = flows.set_user(self._deps(), user, active=False, actor=check_actor(actor))
        return await self._settled(await self._lasting(change), wait=wait)

    async def activate_user(
        self, user_id: Id, *, actor: str | None = None, wait: bool = False
    ) -> Propagation:
        """Give a user's personal keys back, as they were. `wait` is as in `revoke`.

        Raises:
            StoreUnavailable: the database cannot answer; repeat it, as for `revoke`.
        """
        user = check_id("user_id", user_id)
        change = flows.set_user(self._deps(), user, active=True, actor=check_actor(actor))
        return await self._settled(await self._lasting(change), wait=wait)
