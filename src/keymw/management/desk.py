"""What a person may do with keys, through a personal key of theirs. It is decided here alone.

The API and the console both stand on this, so that neither can allow what the other refuses:

- `api_key:read` to see keys, `api_key:write` to change them, and personal keys only;
- within the projects that the caller's key is limited to, and that the application says are the
  caller's; what is not, is answered like what does not exist;
- nobody hands out more than they hold, neither scopes nor projects.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from keymw.errors import InvalidInput, KeyNotFound, VersionConflict
from keymw.inputs import check_ids, check_version
from keymw.management.caller import READ, WRITE, Caller, MayManage
from keymw.management.problems import NotFound
from keymw.principals import KeyKind, granted_by
from keymw.scopes import check_grant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime
    from types import EllipsisType

    from keymw.aio import AsyncKeyService
    from keymw.model import Event, IssuedKey, Key, Propagation
    from keymw.principals import UserPrincipal

__all__ = ["READ", "WRITE", "Desk", "MayManage"]

T = TypeVar("T")

#: How often a change is begun anew because somebody else's came in between.
_ATTEMPTS = 4

_SEQ = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class Desk:
    """One request's: keys as far as the caller may see and change them.

    Where a method takes `project_id`, None stands for the caller's own personal keys.

    Args:
        keys: where the keys are.
        principal: who asks.
        may_manage: called with the principal and a project's id; says whether the user may manage
            the project's keys. keymw does not know whose projects are whose: without it, a personal
            key that is not limited to projects reaches all of them.
    """

    def __init__(
        self,
        keys: AsyncKeyService,
        principal: UserPrincipal,
        may_manage: MayManage | None = None,
    ) -> None:
        self._keys = keys
        self._caller = Caller(principal, may_manage)

    async def place(self, project_id: str | None) -> None:
        """Return if the caller may look at the keys of the project.

        Raises:
            NotFound: the caller does not reach it.
            Forbidden: the caller's key has not the scope.
        """
        self._caller.require(READ)
        if not await self._caller.reaches(project_id):
            raise NotFound

    async def list(
        self,
        project_id: str | None,
        *,
        limit: int = 50,
        after: str | None = None,
        include_revoked: bool = False,
    ) -> tuple[Sequence[Key], str | None]:
        """Return a page of keys, oldest first, and the cursor of the next page, if there is one.

        Raises:
            NotFound: the caller does not reach the project.
            Forbidden: the caller's key has not the scope.
            InvalidInput: `after` is no cursor of this list.
        """
        await self.place(project_id)
        if after is not None:
            try:  # a foreign key's place in time is nobody else's business
                await self._find(project_id, after)
            except NotFound:
                raise InvalidInput("cursor", "it is not one of this list: begin anew.") from None
        found = await self._keys.list(
            project_id=project_id,
            user_id=self._caller.user_id if project_id is None else None,
            include_revoked=include_revoked,
            limit=limit + 1,
            after=after,
        )
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    async def get(self, project_id: str | None, key_id: str) -> Key:
        """Return a key.

        Raises:
            NotFound: there is none with this id that the caller reaches.
            Forbidden: the caller's key has not the scope.
        """
        self._caller.require(READ)
        return await self._find(project_id, key_id)

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
        the caller's own key apply to the new one, too.

        Raises:
            NotFound: the caller does not reach the project.
            Forbidden: the caller does not hold what the key is to be given.
            InvalidInput: an argument is refused (`LabelTaken`, `KeyLimitReached`).
        """
        self._caller.require(WRITE)
        await self.place(project_id)
        kind = KeyKind.PERSONAL if project_id is None else KeyKind.PROJECT_SECRET
        wanted = check_grant(kind, scopes, self._keys.catalog)
        self._caller.check_scopes(wanted)
        me = self._caller.user_id
        if project_id is not None:
            if projects is not None or organizations is not None:
                raise InvalidInput("projects", "a project's key is limited to it already.")
            return await self._keys.issue_project_key(
                project_id, label, wanted, expires_at=expires_at, actor=me
            )
        limits = self._caller.limited(
            check_ids("projects", projects), check_ids("organizations", organizations)
        )
        return await self._keys.issue_personal_key(
            me, label, wanted, expires_at=expires_at, actor=me, **limits
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

        Raises:
            NotFound: there is none with this id that the caller reaches.
            Forbidden: the caller does not hold a scope that is added.
            VersionConflict: the key has not this version any more.
            KeyNotUsable: it is revoked or expired.
            InvalidInput: an argument is refused (`LabelTaken`).
        """
        given = None if scopes is None else scopes if isinstance(scopes, str) else tuple(scopes)

        async def change(key: Key) -> Key:
            wanted = None
            if given is not None:
                wanted = check_grant(key.kind, given, self._keys.catalog)
                if added := wanted - granted_by(key.scopes):
                    self._caller.check_scopes(added)
                    self._caller.check_limits_of(key)
            return await self._keys.update(
                key.id,
                label=label,
                scopes=wanted,
                expires_at=expires_at,
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
            Forbidden: the caller does not hold all that the key holds.
            VersionConflict: the key has not this version any more.
            KeyNotUsable: it is revoked or expired.
            InvalidInput: the grace is refused.
        """

        async def change(key: Key) -> IssuedKey:
            self._caller.check_scopes(key.scopes)
            self._caller.check_limits_of(key)
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

    async def history(
        self,
        project_id: str | None,
        key_id: str | None = None,
        *,
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[Sequence[Event], str | None]:
        """Return a page of the activity log, newest first, and the cursor of the next page.

        Of one key, or of all keys of the project, or of the caller.

        Raises:
            NotFound: the caller does not reach the project, or the key.
            Forbidden: the caller's key has not the scope.
            InvalidInput: `before` is no cursor.
        """
        if key_id is None:
            await self.place(project_id)
        else:
            await self.get(project_id, key_id)
        if before is not None and not _SEQ.fullmatch(before):
            raise InvalidInput("cursor", "it is not one of this list: begin anew.")
        found = await self._keys.history(
            key_id=key_id,
            project_id=project_id,
            user_id=self._caller.user_id if project_id is None else None,
            limit=limit + 1,
            before=None if before is None else int(before),
        )
        return found[:limit], str(found[limit - 1].seq) if len(found) > limit else None

    async def _find(self, project_id: str | None, key_id: str) -> Key:
        """Return a key of the place, or raise `NotFound`.

        The store is asked about every id that can be one, reached or not, so that the time tells no
        more than the answer does.
        """
        is_reached = await self._caller.reaches(project_id)
        try:
            key = await self._keys.get(key_id)
        except (KeyNotFound, InvalidInput):
            raise NotFound from None
        if not (is_reached and self._caller.finds(key, project_id)):
            raise NotFound
        return key

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
        for attempt in range(_ATTEMPTS):
            key = await self._find(project_id, key_id)
            if version not in (None, key.version):
                raise VersionConflict(key.version)
            try:
                return await change(key)
            except VersionConflict:
                if version is not None or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError  # pragma: no cover - the last attempt raises, too
