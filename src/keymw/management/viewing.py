"""What a person may see of keys: only what is theirs. The rest is as if it were not there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput, KeyNotFound
from keymw.management.caller import READ, Caller
from keymw.management.problems import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keymw.aio import AsyncKeyService
    from keymw.management.caller import MayManage
    from keymw.model import Event, Key
    from keymw.principals import UserPrincipal

_SEQ = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class Viewing:
    """The half of the desk that changes nothing."""

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
