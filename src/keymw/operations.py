"""The public changes to keys, written once for blocking and asynchronous services."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import EllipsisType
from typing import TYPE_CHECKING

from keymw import flows
from keymw.inputs import (
    check_actor,
    check_id,
    check_label,
    check_reason,
    check_source,
    check_time,
    check_version,
)
from keymw.issuing import Issuing
from keymw.tokens import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keymw.inputs import Id
    from keymw.model import Deactivation, IssuedKey, Key, Leak, Propagation


class Operations(Issuing):
    """Everything that can be asked about keys, and done with them."""

    async def migrate(self) -> None:
        """Make or upgrade the tables.

        Safe to run again, and from several processes at once.

        Raises:
            StoreUnavailable: the database cannot be reached or changed.
        """
        await self._lasting(self._deps().store.migrate())

    async def update(
        self,
        key_id: str,
        *,
        label: str | None = None,
        scopes: Iterable[str] | None = None,
        expires_at: datetime | EllipsisType | None = ...,
        version: int | None = None,
        actor: str | None = None,
        wait: bool = False,
    ) -> Key:
        """Change a key's label, scopes or end; what is not given stays.

        Args:
            key_id: which key.
            label: as in `issue_project_key`.
            scopes: as in `issue_project_key`.
            expires_at: as in `issue_project_key`; None is never, `...` leaves it as it is.
            version: the version that the caller has read, to lose nobody else's change.
            actor: who does it, for the activity log.
            wait: as in `revoke`.

        Returns:
            The key as it is now; its `propagation` says when that holds everywhere.

        Raises:
            KeyNotFound: there is none with this id.
            KeyNotUsable: it is revoked or expired.
            VersionConflict: it has been changed meanwhile; nothing is changed now.
            InvalidInput: an argument is refused; nothing is changed.
            StoreUnavailable: the database cannot answer.
        """
        key = check_id("key_id", key_id)
        label = None if label is None else check_label(label)
        end = (
            expires_at
            if isinstance(expires_at, EllipsisType)
            else check_time("expires_at", expires_at)
        )
        read = check_version(version)
        change = flows.update(self._deps(), key, label, scopes, end, read, check_actor(actor))
        changed = await self._lasting(change)
        return await self._settled(changed, wait=wait)

    async def roll(
        self,
        key_id: str,
        *,
        grace: timedelta = timedelta(0),
        version: int | None = None,
        actor: str | None = None,
        wait: bool = False,
    ) -> IssuedKey:
        """Give a key a new secret; id, label and scopes stay.

        Args:
            key_id: which key.
            grace: how long the old secret still works. Rolling again neither extends it nor ends it
                early; revoking ends all secrets at once.
            version: the version that the caller has read: of two who roll it at once, one does.
            actor: who does it, for the activity log.
            wait: as in `revoke`.

        Raises:
            KeyNotFound: there is none with this id.
            KeyNotUsable: it is revoked or expired.
            VersionConflict: it has been changed meanwhile; nothing is changed now.
            InvalidInput: the grace is negative or no timedelta.
            StoreUnavailable: the database cannot answer.
        """
        key = check_id("key_id", key_id)
        read = check_version(version)
        change = flows.roll(self._deps(), key, grace, read, check_actor(actor))
        rolled = await self._lasting(change)
        return await self._settled(rolled, wait=wait)

    async def revoke(
        self,
        key_id: str,
        *,
        reason: str | None = None,
        actor: str | None = None,
        wait: bool = False,
    ) -> Propagation:
        """End a key for good, with the secrets that it had before.

        Revoking a revoked key changes nothing and tells every process once more.

        Args:
            key_id: which key.
            reason: why, for the activity log; up to 500 characters.
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
        change = flows.revoke(self._deps(), key, check_actor(actor), check_reason(reason))
        told = await self._lasting(change)
        return await self._settled(told, wait=wait)

    async def report_leak(
        self,
        token: str,
        *,
        source: str | None = None,
        actor: str | None = None,
        wait: bool = False,
    ) -> Leak:
        """Revoke the key whose token somebody has seen who should not have.

        A token that does not work any more changes nothing: the key may have a newer one.

        Args:
            token: as it was found.
            source: where, for the activity log; up to 400 characters.
            actor: who reports it, for the activity log.
            wait: as in `revoke`.

        Raises:
            InvalidInput: an argument is refused; nothing is changed.
            StoreUnavailable: the database cannot answer; repeat it, as for `revoke`.
            TypeError: the token is not a string.
        """
        if not isinstance(token, str):
            raise TypeError(f"report_leak() takes a string, not {type(token).__name__}.")
        reason = "leaked" if source is None else f"leaked: {check_source(source)}"
        change = flows.report_leak(self._deps(), digest_of(token), reason, check_actor(actor))
        leak = await self._lasting(change)
        if leak.propagation is None:
            return leak
        return replace(leak, propagation=await self._settled(leak.propagation, wait=wait))

    async def deactivate_user(
        self, user_id: Id, *, actor: str | None = None, wait: bool = False
    ) -> Deactivation:
        """End all personal keys of a user in one step; project keys are not touched.

        The user need not be known before. `wait` is as in `revoke`.

        Returns:
            What `revoke` does, and which live project keys the user has made (`created_by`), so
            that somebody takes them over: the user may know their secrets, so roll them.

        Raises:
            StoreUnavailable: the database cannot answer; repeat it, as for `revoke`.
        """
        user = check_id("user_id", user_id)
        change = flows.deactivate_user(self._deps(), user, check_actor(actor))
        return await self._settled(await self._lasting(change), wait=wait)

    async def activate_user(
        self, user_id: Id, *, actor: str | None = None, wait: bool = False
    ) -> Propagation:
        """Give a user's personal keys back, as they were. `wait` is as in `revoke`.

        Raises:
            StoreUnavailable: the database cannot answer; repeat it, as for `revoke`.
        """
        user = check_id("user_id", user_id)
        change = flows.activate_user(self._deps(), user, check_actor(actor))
        return await self._settled(await self._lasting(change), wait=wait)
