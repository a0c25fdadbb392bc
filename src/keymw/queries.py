"""The public questions about keys, written once for blocking and asynchronous services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw import flows
from keymw.core import Core
from keymw.errors import InvalidInput, KeyNotFound
from keymw.inputs import check_actor, check_id
from keymw.tokens import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keymw.inputs import Id
    from keymw.model import Event, Key, Verdict

_MAX_LIMIT = 1_000_000
_MAX_SEQ = 2**63


class Queries(Core):
    """Everything that can be asked about keys."""

    async def verify(self, token: str) -> Verdict:
        """Return `Granted(principal)` or `Denied(reason)` for a token, with no web app at all.

        An outage is `Denied(Reason.UNAVAILABLE)`: nothing is known about the key then.

        Raises:
            NotMigrated: the database does not have keymw's tables.
            TypeError: the token is not a string.
        """
        if not isinstance(token, str):
            raise TypeError(f"verify() takes the token as a string, not {type(token).__name__}.")
        return await self._verify(token)

    async def get(self, key_id: str) -> Key:
        """Return a key's row.

        Raises:
            KeyNotFound: there is none with this id.
            StoreUnavailable: the database cannot answer.
        """
        key = check_id("key_id", key_id)
        await self._note_uses()
        return await flows.get(self._deps(), key)

    async def find_by_token(self, token: str) -> Key | None:
        """Return the key that a token belongs to, or has belonged to; None if there is none.

        Revoked, expired and rolled ones too. It does not count as a use, and asks the database
        alone.

        Raises:
            StoreUnavailable: the database cannot answer.
            TypeError: the token is not a string.
        """
        if not isinstance(token, str):
            raise TypeError(f"find_by_token() takes a string, not {type(token).__name__}.")
        await self._note_uses()
        return await flows.find_by_digest(self._deps(), digest_of(token))

    async def list(
        self,
        *,
        project_id: Id | None = None,
        user_id: Id | None = None,
        created_by: Id | None = None,
        include_revoked: bool = False,
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[Key]:
        """Return the keys of a project or of a user (or all of them), oldest first.

        Args:
            project_id: only keys of this project.
            user_id: only personal keys of this user.
            created_by: only keys that this user has made, for projects too.
            include_revoked: revoked keys too.
            limit: how many at the most; None is all.
            after: id of the last key of the page before.

        Raises:
            InvalidInput: an id, or the limit, is none, or there is no key `after`.
            StoreUnavailable: the database cannot answer.
        """
        if limit is not None:
            _check_limit(limit)
        await self._note_uses()
        try:
            return await self._deps().store.list(
                project_id=None if project_id is None else check_id("project_id", project_id),
                user_id=None if user_id is None else check_id("user_id", user_id),
                created_by=None if created_by is None else check_id("created_by", created_by),
                include_revoked=include_revoked,
                limit=limit,
                after=None if after is None else check_id("after", after),
            )
        except KeyNotFound:
            raise InvalidInput("after", "there is no key with this id.") from None

    async def history(
        self,
        *,
        key_id: str | None = None,
        project_id: Id | None = None,
        user_id: Id | None = None,
        actor: Id | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> Sequence[Event]:
        """Return the activity log, newest first.

        Args:
            key_id: only what has happened to this key.
            project_id: only what has happened in this project.
            user_id: only what has happened to this user and the user's personal keys.
            actor: only what this one has done.
            limit: how many events at the most.
            before: `seq` of the last event of the page before.

        Raises:
            InvalidInput: an id, the limit or the number is none.
            StoreUnavailable: the database cannot answer.
        """
        _check_limit(limit)
        if before is not None and (
            isinstance(before, bool) or not isinstance(before, int) or not 0 < before < _MAX_SEQ
        ):
            raise InvalidInput("before", "give the `seq` of an event.")
        return await self._deps().store.history(
            key_id=None if key_id is None else check_id("key_id", key_id),
            project_id=None if project_id is None else check_id("project_id", project_id),
            user_id=None if user_id is None else check_id("user_id", user_id),
            actor=check_actor(actor),
            limit=limit,
            before=before,
        )


def _check_limit(limit: object) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= _MAX_LIMIT:
        raise InvalidInput("limit", f"give a whole number from 1 to {_MAX_LIMIT}.")
