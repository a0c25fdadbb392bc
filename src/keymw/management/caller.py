"""What the caller holds: the bounds of everything that the desk does for them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput
from keymw.inputs import check_id
from keymw.management.problems import Forbidden
from keymw.policy import decide, make_demand
from keymw.principals import KeyKind, UserPrincipal, holds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keymw.model import Key

#: Says whether a user may manage the keys of a project; the application's.
MayManage = Callable[[UserPrincipal, str], bool | Awaitable[bool]]

READ = "api_key:read"
WRITE = "api_key:write"

_DEMANDS = {scope: make_demand((scope,), (KeyKind.PERSONAL,), None) for scope in (READ, WRITE)}
_PLACE = make_demand((), (KeyKind.PERSONAL,), "project_id")


class Caller:
    """Who asks, by a personal key, and what that key reaches and holds."""

    def __init__(self, principal: UserPrincipal, may_manage: MayManage | None) -> None:
        self._principal = principal
        self._may_manage = may_manage
        self.user_id = principal.user_id

    def require(self, scope: str) -> None:
        """Return if the key is a person's and holds a scope.

        Raises:
            Forbidden: it is not, or does not.
        """
        denied = decide(self._principal, _DEMANDS[scope], None)
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
        if decide(self._principal, _PLACE, project_id) is not None:
            return False
        if self._may_manage is None:
            return True
        may = self._may_manage(self._principal, project_id)
        return bool(await may if inspect.isawaitable(may) else may)

    def finds(self, key: Key, project_id: str | None) -> bool:
        """Say whether it is a key of the project, or one of the caller's own for None."""
        if project_id is None:
            return key.user_id == self.user_id
        return key.project_id == project_id

    def check_scopes(self, scopes: Iterable[str]) -> None:
        """Return if the caller holds all of the scopes.

        Raises:
            Forbidden: one is missing; the message names it.
        """
        for scope in sorted(scopes):
            if not holds(self._principal, scope):
                raise Forbidden(
                    f"Your API key does not hold the scope {scope!r}, so it cannot hand it out.",
                    "scopes",
                )

    def limited(
        self, projects: frozenset[str] | None, organizations: frozenset[str] | None
    ) -> dict[str, frozenset[str] | None]:
        """Return the limits of a new personal key: the caller's own where there are none.

        Raises:
            Forbidden: they are wider than the caller's.
        """
        me = self._principal
        limits = {
            "projects": me.projects if projects is None else projects,
            "organizations": me.organizations if organizations is None else organizations,
        }
        self._check_limits(limits)
        return limits

    def check_limits_of(self, key: Key) -> None:
        """Return if a personal key is limited at least as much as the caller's.

        Raises:
            Forbidden: it is not; the message says by what.
        """
        if key.kind is KeyKind.PERSONAL:
            self._check_limits({"projects": key.projects, "organizations": key.organizations})

    def _check_limits(self, limits: dict[str, frozenset[str] | None]) -> None:
        for name, limit in limits.items():
            mine: frozenset[str] | None = getattr(self._principal, name)
            if mine is not None and (limit is None or not limit <= mine):
                raise Forbidden(
                    f"Your API key is limited to some {name}, so it can only hand out keys that "
                    "are limited to those.",
                    name,
                )
