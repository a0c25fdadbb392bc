"""What a person may do with keys, through a personal key of theirs. It is decided here alone.

The API and the console both stand on this, so that neither can allow what the other refuses:

- `api_key:read` to see keys, `api_key:write` to change them, and personal keys only;
- within the projects that the caller's key is limited to, and that the application says are the
  caller's; what is not, is answered like what does not exist;
- nobody hands out more than they hold: neither scopes, nor projects, nor time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import EllipsisType
from typing import TYPE_CHECKING, TypeVar

from keymw.aio import AsyncKeyService
from keymw.errors import InvalidInput, VersionConflict
from keymw.inputs import check_ids, check_time, check_version
from keymw.management.bounds import bounds_of, outlasts
from keymw.management.caller import READ, WRITE, MayManage
from keymw.management.viewing import Viewing
from keymw.principals import KeyKind, granted_by
from keymw.scopes import check_grant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from keymw.management.bounds import Bounds
    from keymw.model import IssuedKey, Key, Propagation

__all__ = ["READ", "WRITE", "Desk", "MayManage", "check_service"]

T = TypeVar("T")

#: How often a change is begun anew because somebody else's came in between.
_ATTEMPTS = 4


class Desk(Viewing):
    """One request's: keys as far as the caller may see and change them.

    Where a method takes `project_id`, None stands for the caller's own personal keys.

    Args:
        keys: where the keys are.
        principal: who asks.
        may_manage: called with the principal and a project's id; says whether the user may manage
            the project's keys. keymw does not know whose projects are whose: without it, a personal
            key that is not limited to projects reaches all of them.
    """

    async def create(
        self,
        project_id: str | None,
        label: str,
        scopes: Iterable[str],
        *,
        expires_at: datetime | None = None,
        projects: Iterable[str] | None = None,
        organizations: Iterable[str] | None = None,
    ) -> IssuedKey:
        """Make a key for the project, or a personal key of the caller's.

        `projects` and `organizations` limit a personal key. Where they are not given, the limits of
        the caller's own key apply to the new one, too. Its end does not: a key that stops some day
        though nobody has said so is worse than a refusal now.

        Raises:
            NotFound: the caller does not reach the project.
            Forbidden: the caller does not hold what the key is to be given, or not for that long.
            InvalidInput: an argument is refused (`LabelTaken`, `KeyLimitReached`).
        """
        self._caller.require(WRITE)
        await self.place(project_id)
        kind = KeyKind.PERSONAL if project_id is None else KeyKind.PROJECT_SECRET
        wanted = check_grant(kind, scopes, self._keys.catalog)
        end = check_time("expires_at", expires_at)
        mine = await self._bounds()
        mine.check_scopes(wanted)
        mine.check_end(end)
        me = self._caller.user_id
        if project_id is not None:
            if projects is not None or organizations is not None:
                raise InvalidInput("projects", "a project's key is limited to it already.")
            return await self._keys.issue_project_key(
                project_id, label, wanted, expires_at=end, actor=me
            )
        limits = mine.limited(
            check_ids("projects", projects), check_ids("organizations", organizations)
        )
        return await self._keys.issue_personal_key(
            me, label, wanted, expires_at=end, actor=me, **limits
        )

    async def update(
        self,
        project_id: str | None,
        key_id: str,
        *,
        label: str | None = None,
        scopes: Iterable[str] | None = None,
        expires_at: datetime | EllipsisType | None = ...,
        version: int | None = None,
    ) -> Key:
        """Change a key's label, scopes or expiry; what is not given stays.

        A key that is to last longer is handed out anew, with all that it holds.

        Raises:
            NotFound: there is none with this id that the caller reaches.
            Forbidden: the caller does not hold what is added.
            VersionConflict: the key has not this version any more.
            KeyNotUsable: it is revoked or expired.
            InvalidInput: an argument is refused (`LabelTaken`).
        """
        given = None if scopes is None else scopes if isinstance(scopes, str) else tuple(scopes)
        end = expires_at
        if not isinstance(end, EllipsisType):
            end = check_time("expires_at", end)

        async def change(key: Key) -> Key:
            after, wanted = key, None
            if given is not None:
                wanted = check_grant(key.kind, given, self._keys.catalog)
                after = replace(after, scopes=wanted)
            if not isinstance(end, EllipsisType):
                after = replace(after, expires_at=end)
            await self._check_added(key, after)
            return await self._keys.update(
                key.id,
                label=label,
                scopes=wanted,
                expires_at=end,
                version=key.version,
                actor=self._caller.user_id,
            )

        return await self._change(project_id, key_id, version, change)

    async def roll(
        self,
        project_id: str | None,
        key_id: str,
        *,
        grace: timedelta = timedelta(0),
        version: int | None = None,
    ) -> IssuedKey:
        """Give a key a new secret, which the caller gets to see: so all of it must be theirs.

        Raises:
            NotFound: there is none with this id that the caller reaches.
            Forbidden: the caller does not hold all that the key holds, or not for that long.
            VersionConflict: the key has not this version any more.
            KeyNotUsable: it is revoked or expired.
            InvalidInput: the grace is refused.
        """

        async def change(key: Key) -> IssuedKey:
            mine = await self._bounds()
            mine.check_scopes(key.scopes)
            mine.check_limits_of(key)
            mine.check_end(key.expires_at)
            return await self._keys.roll(
                key.id, grace=grace, version=key.version, actor=self._caller.user_id
            )

        return await self._change(project_id, key_id, version, change)

    async def revoke(
        self, project_id: str | None, key_id: str, *, reason: str | None = None
    ) -> Propagation:
        """End a key for good; one that has ended is ended again, which changes nothing.

        Raises:
            NotFound: there is none with this id that the caller reaches.
            Forbidden: the caller's key has not the scope.
            InvalidInput: the reason is refused.
        """
        self._caller.require(WRITE)
        key = await self._find(project_id, key_id)
        return await self._keys.revoke(key.id, reason=reason, actor=self._caller.user_id)

    async def _bounds(self) -> Bounds:
        return await bounds_of(self._keys, self._caller.principal)

    async def _check_added(self, key: Key, after: Key) -> None:
        """Return if the caller may give a key what it is to have besides what it has."""
        added = after.scopes - granted_by(key.scopes)
        lasts_longer = outlasts(after.expires_at, key.expires_at)
        if not added and not lasts_longer:
            return
        mine = await self._bounds()
        mine.check_scopes(added)
        if lasts_longer:
            mine.check_scopes(after.scopes, "expires_at")
        mine.check_limits_of(after)
        mine.check_end(after.expires_at)

    async def _change(
        self,
        project_id: str | None,
        key_id: str,
        version: int | None,
        change: Callable[[Key], Awaitable[T]],
    ) -> T:
        """Run a change that names the version of the key that was judged.

        If it names an older one, somebody may just have given the key more than the caller holds:
        it is judged anew, unless the caller has named the version.
        """
        self._caller.require(WRITE)
        version = check_version(version)
        attempts = 0
        while True:
            key = await self._find(project_id, key_id)
            if version not in (None, key.version):
                raise VersionConflict(key.version)
            try:
                return await change(key)
            except VersionConflict:
                attempts += 1
                if version is not None or attempts == _ATTEMPTS:
                    raise


def check_service(keys: object, app: str) -> None:
    """Return if an app can stand on a service.

    Raises:
        TypeError: it is no `AsyncKeyService`.
        ValueError: its catalog has no `api_key` scopes.
    """
    if not isinstance(keys, AsyncKeyService):
        raise TypeError(
            f"{app} is an ASGI app and takes an AsyncKeyService. Beside a WSGI app, give it one of "
            "its own on the same database and Redis, and serve it with uvicorn."
        )
    if keys.catalog is not None and not {READ, WRITE} <= keys.catalog.scopes:
        raise ValueError(
            'catalog: who may manage keys? Add "api_key": ("read", "write") to its objects.'
        )
