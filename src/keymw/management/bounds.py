"""What a caller may hand out: no more than the caller's own key has, and for no longer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keymw.errors import KeyNotFound
from keymw.management.problems import Forbidden
from keymw.principals import KeyKind, holds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keymw.aio import AsyncKeyService
    from keymw.model import Key
    from keymw.principals import UserPrincipal

Ids = frozenset[str] | None


def outlasts(end: datetime | None, other: datetime | None) -> bool:
    """Say whether one end is later than another; None is never."""
    return other is not None and (end is None or end > other)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one change. Each check raises `Forbidden`, which names what is over them."""

    _holder: UserPrincipal
    #: When the caller's secret ends.
    _end: datetime | None

    def check_scopes(self, scopes: Iterable[str], field: str = "scopes") -> None:
        """Return if the caller holds all of the scopes."""
        for scope in sorted(scopes):
            if not holds(self._holder, scope):
                raise Forbidden(
                    f"Your API key does not hold the scope {scope!r}: it can neither hand that out "
                    "nor make it last longer.",
                    field,
                )

    def limited(self, projects: Ids, organizations: Ids) -> dict[str, Ids]:
        """Return the limits of a new personal key: the caller's own where there are none."""
        limits = {"projects": projects, "organizations": organizations}
        for name, limit in limits.items():
            limits[name] = getattr(self._holder, name) if limit is None else limit
        self._check_limits(limits)
        return limits

    def check_limits_of(self, key: Key) -> None:
        """Return if a personal key is limited at least as much as the caller's."""
        if key.kind is KeyKind.PERSONAL:
            self._check_limits({"projects": key.projects, "organizations": key.organizations})

    def check_end(self, end: datetime | None) -> None:
        """Return if it is no later than the end of the secret that the caller uses."""
        if self._end is not None and outlasts(end, self._end):
            latest = self._end.isoformat().replace("+00:00", "Z")
            raise Forbidden(
                f"Your API key ends at {latest}, so it can only hand out keys that end by then.",
                "expires_at",
            )

    def _check_limits(self, limits: dict[str, Ids]) -> None:
        for name, limit in limits.items():
            mine: Ids = getattr(self._holder, name)
            if mine is not None and (limit is None or not limit <= mine):
                raise Forbidden(
                    f"Your API key is limited to some {name}, so it can only hand out keys that "
                    "are limited to those.",
                    name,
                )


async def bounds_of(keys: AsyncKeyService, principal: UserPrincipal) -> Bounds:
    """Return what somebody may hand out, by their key as the database has it.

    A cache may be late by a moment, which is enough to make keys that never end with one that has
    just been revoked, or had its scopes taken.

    Raises:
        Forbidden: there is no such key any more.
    """
    try:
        key = await keys.get(principal.key_id)
    except KeyNotFound:
        raise Forbidden("Your API key is not there any more.") from None
    holder = replace(
        principal, scopes=key.scopes, projects=key.projects, organizations=key.organizations
    )
    # Whoever still has the old secret of a rolled key is not to outlast it by means of it either.
    ends = (key.expires_at, key.revoked_at, principal.retired_until)
    return Bounds(holder, min((end for end in ends if end is not None), default=None))
