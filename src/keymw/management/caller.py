"""Who asks, and what is there for them; what they may hand out, `bounds` says."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput
from keymw.inputs import check_id
from keymw.management.problems import Forbidden
from keymw.policy import decide, make_demand
from keymw.principals import KeyKind, UserPrincipal

if TYPE_CHECKING:
    from keymw.model import Key

#: Says whether a user may manage the keys of a project; the application's.
MayManage = Callable[[UserPrincipal, str], bool | Awaitable[bool]]

READ = "api_key:read"
WRITE = "api_key:write"

_DEMANDS = {scope: make_demand((scope,), (KeyKind.PERSONAL,), None) for scope in (READ, WRITE)}
_PLACE = make_demand((), (KeyKind.PERSONAL,), "project_id")


class Caller:
    """Who asks, by a personal key, and what that key reaches."""

    def __init__(self, principal: UserPrincipal, may_manage: MayManage | None) -> None:
        self.principal = principal
        self.user_id = principal.user_id
        self._may_manage = may_manage

    def require(self, scope: str) -> None:
        """Return if the key is a person's and holds a scope.

        Raises:
            Forbidden: it is not, or does not.
        """
        denied = decide(self.principal, _DEMANDS[scope], None)
        if denied is not None:
            raise Forbidden(denied.detail)

    async def reaches(self, project_id: str | None) -> bool:
        """Say whether the caller may manage the keys of a project; their own they always may."""
        if project_id is None:
            return True
        try:
            check_id("project_id", project_id)
        except InvalidInput:
            return False
        if decide(self.principal, _PLACE, project_id) is not None:
            return False
        if self._may_manage is None:
            return True
        may = self._may_manage(self.principal, project_id)
        return bool(await may if inspect.isawaitable(may) else may)

    def finds(self, key: Key, project_id: str | None) -> bool:
        """Say whether it is a key of the project, or one of the caller's own for None."""
        if project_id is None:
            return key.user_id == self.user_id
        return key.project_id == project_id
