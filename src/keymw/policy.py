"""Every decision about a key: is it good now, and may it do what the route demands.

Pure: values in, a verdict out. The store's row is judged by `judge`, a route's demand by `decide`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput
from keymw.model import Demand, Denied, Granted, Reason, Verdict
from keymw.principals import WILDCARD, KeyKind, Principal, ServicePrincipal, UserPrincipal, holds
from keymw.scopes import ScopeCatalog, parse_scopes, usable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Record:
    """What the store knows of one secret: all that a verdict needs, and what caches carry."""

    key_id: str
    kind: KeyKind
    label: str
    scopes: frozenset[str]
    version: int
    project_id: str | None = None
    user_id: str | None = None
    projects: frozenset[str] | None = None
    organizations: frozenset[str] | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    #: For a secret that was rolled: until when it still works.
    retired_until: datetime | None = None
    owner_active: bool = True
    #: 0 for a user that nobody has ever deactivated.
    owner_version: int = 0
    #: What people may see of the secret.
    mask: str = ""
    #: Number of the last event that had happened when this was read: what came later is not in it.
    position: int = 0

    @property
    def entities(self) -> tuple[tuple[str, int], ...]:
        """What this record is made of, with versions: a change to any of them ends it."""
        key = (key_entity(self.key_id), self.version)
        if self.user_id is None:
            return (key,)
        return (key, (user_entity(self.user_id), self.owner_version))

    @property
    def ends_at(self) -> datetime | None:
        """When the secret stops to work by itself, if ever."""
        ends = [end for end in (self.expires_at, self.retired_until) if end is not None]
        return min(ends, default=None)


def key_entity(key_id: str) -> str:
    """Name a key in invalidations."""
    return f"key:{key_id}"


def user_entity(user_id: str) -> str:
    """Name a user in invalidations."""
    return f"user:{user_id}"


#: What ends a key, in the order in which it is said.
_OBSTACLES: tuple[tuple[Reason, Callable[[Record, datetime], bool]], ...] = (
    (Reason.REVOKED, lambda record, _: record.revoked_at is not None),
    (Reason.EXPIRED, lambda record, now: _is_past(record.expires_at, now)),
    (Reason.ROLLED, lambda record, now: _is_past(record.retired_until, now)),
    (Reason.OWNER_INACTIVE, lambda record, _: not record.owner_active),
)


def _is_past(end: datetime | None, now: datetime) -> bool:
    return end is not None and end <= now


def judge(record: Record | None, now: datetime, catalog: ScopeCatalog | None) -> Verdict:
    """Say whether a secret is good at `now`; no record is a secret that nobody issued."""
    if record is None:
        return Denied(Reason.INVALID)
    for reason, holds_back in _OBSTACLES:
        if holds_back(record, now):
            return Denied(reason)
    scopes = usable(record.kind, record.scopes, catalog)
    if record.kind is KeyKind.PROJECT_SECRET and record.project_id is not None:
        return Granted(
            ServicePrincipal(
                record.key_id,
                record.project_id,
                record.label,
                scopes,
                record.mask,
                record.retired_until,
            )
        )
    if record.kind is KeyKind.PERSONAL and record.user_id is not None:
        return Granted(
            UserPrincipal(
                record.key_id,
                record.user_id,
                record.label,
                scopes,
                record.projects,
                record.organizations,
                record.mask,
                record.retired_until,
            )
        )
    return Denied(Reason.INVALID)


def make_demand(
    scopes: tuple[str, ...], kinds: Iterable[KeyKind | str], project: str | None
) -> Demand:
    """Check what a route declares.

    Raises:
        InvalidInput: a scope, a kind or the name of the project parameter is not one.
    """
    needed = parse_scopes(scopes)
    if WILDCARD in needed:
        raise InvalidInput("scopes", "a route cannot demand '*': name the scopes it needs.")
    if not isinstance(kinds, Iterable):
        raise InvalidInput("kinds", f"give a list of kinds, not {type(kinds).__name__}.")
    names = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    try:
        accepted = frozenset(KeyKind(name) for name in names)
    except ValueError:
        known = ", ".join(KeyKind)
        raise InvalidInput("kinds", f"{names!r} has a kind other than {known}.") from None
    if not accepted:
        raise InvalidInput("kinds", "the route takes no key at all: name at least one kind.")
    if project is not None and (not isinstance(project, str) or not project):
        raise InvalidInput("project", "give the name of a path parameter.")
    return Demand(tuple(dict.fromkeys(scopes)), accepted, project, needed)


def decide(principal: Principal, demand: Demand, project: object) -> Denied | None:
    """Return why `principal` may not do what the route demands, or None if it may.

    `project` is the route's path parameter (None where there is none), compared as a string.
    """
    if principal.kind not in demand.kinds:
        return Denied(Reason.KIND, principal.kind.plural, demand.scopes)
    if not demand.needed <= principal.granted:
        for scope in demand.scopes:
            if not holds(principal, scope):
                return Denied(Reason.SCOPE, scope, demand.scopes)
    if demand.project is not None and not _reaches(principal, project):
        return Denied(Reason.PROJECT, "", demand.scopes)
    return None


def _reaches(principal: Principal, project: object) -> bool:
    if project is None:
        return False
    if principal.kind is KeyKind.PROJECT_SECRET:
        return principal.project_id == str(project)
    if principal.projects is None:
        # Whose projects an organization has, keymw does not know: a key limited to
        # organizations only must not reach a project by that.
        return principal.organizations is None
    return str(project) in principal.projects
