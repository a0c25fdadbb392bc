"""The public questions about keys, written once for blocking and asynchronous services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw import flows
from keymw.core import Core
from keymw.errors import InvalidInput
from keymw.inputs import check_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keymw.inputs import Id
    from keymw.model import Event, Key, Verdict

_MAX_LIMIT = 1_000_000


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
        return await flows.get(self._deps(), check_id("key_id", key_id))

    async def list(
        self,
        *,
        project_id: Id | None = None,
        user_id: Id | None = None,
        include_revoked: bool = False,
    ) -> Sequence[Key]:
        """Return the keys of a project or of a user (or all of them), oldest first.

        Raises:
            StoreUnavailable: the database cannot answer.
        """
        return await self._deps().store.list(
            project_id=None if project_id is None else check_id("project_id", project_id),
            user_id=None if user_id is None else check_id("user_id", user_id),
            include_revoked=include_revoked,
        )

    async def history(
        self,
        *,
        key_id: str | None = None,
        project_id: Id | None = None,
        user_id: Id | None = None,
        limit: int = 100,
    ) -> Sequence[Event]:
        """Return the activity log of a key, a project or a user (or of all), newest first.

        Raises:
            InvalidInput: an id, or the limit, is none.
            StoreUnavailable: the database cannot answer.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= _MAX_LIMIT:
            raise InvalidInput("limit", f"give a whole number from 1 to {_MAX_LIMIT}.")
        return await self._deps().store.history(
            key_id=None if key_id is None else check_id("key_id", key_id),
            project_id=None if project_id is None else check_id("project_id", project_id),
            user_id=None if user_id is None else check_id("user_id", user_id),
            limit=limit,
        )
