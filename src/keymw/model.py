"""The values that keymw is about: keys, principals, verdicts, demands. Frozen; none does I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from typing import Self


class KeyKind(StrEnum):
    """Whom a key belongs to; a plain string of the same value works wherever a kind is asked."""

    PROJECT_SECRET = "project_secret"  # noqa: S105 - a name
    PERSONAL = "personal"

    @property
    def plural(self) -> str:
        """How answers name keys of this kind."""
        return "project secret API keys" if self is KeyKind.PROJECT_SECRET else "personal API keys"


class Reason(StrEnum):
    """Why a request is refused: the `code` of the answer's problem document."""

    NOT_AUTHENTICATED = "not_authenticated"
    MALFORMED = "malformed_credentials"
    UNRECOGNIZED = "unrecognized_credentials"
    INVALID = "invalid_key"
    EXPIRED = "expired_key"
    REVOKED = "revoked_key"
    ROLLED = "rolled_key"
    OWNER_INACTIVE = "owner_inactive"
    KIND = "kind_not_supported"
    SCOPE = "scope_missing"
    PROJECT = "wrong_project"
    UNAVAILABLE = "temporarily_unavailable"


_DETAILS: Mapping[Reason, str] = {
    Reason.NOT_AUTHENTICATED: "Authentication credentials were not provided.",
    Reason.MALFORMED: "The Authorization header must be sent once, as: Bearer <API key>.",
    Reason.UNRECOGNIZED: "The API key is invalid.",
    Reason.INVALID: "The API key is invalid.",
    Reason.EXPIRED: "The API key has expired.",
    Reason.REVOKED: "The API key has been revoked.",
    Reason.ROLLED: "The API key has been rolled: use its new secret.",
    Reason.OWNER_INACTIVE: "The API key is invalid: its owner is no longer active.",
    Reason.KIND: "This endpoint does not support {0}.",
    Reason.SCOPE: "API key missing required scope '{0}'.",
    Reason.PROJECT: "API key does not have access to the requested project.",
    Reason.UNAVAILABLE: "The API key cannot be checked at the moment. Try again shortly.",
}


@lru_cache(maxsize=4096)
def granted_by(scopes: frozenset[str]) -> frozenset[str]:
    """Return the scopes with those they imply: `write` grants `read` of the same object.

    Equal sets come back as one object, so that many keys share it.
    """
    implied = {scope[: -len("write")] + "read" for scope in scopes if scope.endswith(":write")}
    return scopes | implied


@dataclass(frozen=True, slots=True)
class AnonymousPrincipal:
    """Nobody: a request without a key that keymw knows. Shaped like Starlette's `BaseUser`."""

    is_authenticated: ClassVar[bool] = False
    display_name: ClassVar[str] = ""
    identity: ClassVar[str] = ""
    kind: ClassVar[None] = None
    key_id: ClassVar[None] = None
    project_id: ClassVar[None] = None
    user_id: ClassVar[None] = None
    scopes: ClassVar[frozenset[str]] = frozenset()
    granted: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """A project's key: nobody's, so it outlives the employee who made it."""

    key_id: str
    project_id: str
    label: str
    scopes: frozenset[str]
    #: The scopes with those that they imply, which is what demands are compared with.
    granted: frozenset[str] = field(init=False, repr=False, compare=False)

    is_authenticated: ClassVar[bool] = True
    kind: ClassVar[Literal[KeyKind.PROJECT_SECRET]] = KeyKind.PROJECT_SECRET
    user_id: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Work out what the scopes imply."""
        object.__setattr__(self, "granted", granted_by(self.scopes))

    @property
    def display_name(self) -> str:
        """The key's label."""
        return self.label

    @property
    def identity(self) -> str:
        """The key's id: a project key is not a user."""
        return self.key_id


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """A user, by one of the user's personal keys; it ends with the user's access."""

    key_id: str
    user_id: str
    label: str
    scopes: frozenset[str]
    #: Project ids that the key is limited to; None is no limit by the key.
    projects: frozenset[str] | None = None
    #: Organization ids that the key is limited to; None is no limit by the key.
    organizations: frozenset[str] | None = None
    #: The scopes with those that they imply, which is what demands are compared with.
    granted: frozenset[str] = field(init=False, repr=False, compare=False)

    is_authenticated: ClassVar[bool] = True
    kind: ClassVar[Literal[KeyKind.PERSONAL]] = KeyKind.PERSONAL
    project_id: ClassVar[None] = None

    def __post_init__(self) -> None:
        """Work out what the scopes imply."""
        object.__setattr__(self, "granted", granted_by(self.scopes))

    @property
    def display_name(self) -> str:
        """The user's id."""
        return self.user_id

    @property
    def identity(self) -> str:
        """The user's id."""
        return self.user_id


Principal = ServicePrincipal | UserPrincipal

#: Grants everything; only a personal key can hold it.
WILDCARD = "*"


def holds(principal: Principal, scope: str) -> bool:
    """Say whether the principal has a scope: by itself, by implication or by the wildcard."""
    granted = principal.granted
    return scope in granted or (WILDCARD in granted and principal.kind is KeyKind.PERSONAL)


class GrantedScopes(tuple[str, ...]):  # noqa: SLOT001 - a tuple's subclass has no slots
    """A key's scopes, in order, with an `in` that follows keymw's rules.

    Starlette's `@requires` asks by `in`; so it too sees that `write` grants `read`, that `*`
    grants everything, and that whoever has a key is "authenticated".
    """

    _principal: Principal

    def __new__(cls, principal: Principal) -> Self:
        """Read the scopes of a principal."""
        scopes = super().__new__(cls, sorted(principal.scopes))
        scopes._principal = principal
        return scopes

    def __contains__(self, scope: object) -> bool:
        return scope == "authenticated" or (
            isinstance(scope, str) and holds(self._principal, scope)
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """What `request.auth` is: the shape of Starlette's `AuthCredentials`.

    Frozen, because one serves all requests with a key.
    """

    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Granted:
    """The key is good."""

    principal: Principal
    #: Made once, with the verdict, for every request that it serves.
    credentials: Credentials = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the credentials of the principal."""
        object.__setattr__(self, "credentials", Credentials(GrantedScopes(self.principal)))


@dataclass(frozen=True, slots=True)
class Denied:
    """The request is refused, and why."""

    reason: Reason
    #: What the detail names: the missing scope, or the keys that the route does not take.
    subject: str = ""
    #: All scopes that the route demands, for the challenge (RFC 6750 §3).
    scopes: tuple[str, ...] = ()

    @property
    def detail(self) -> str:
        """One sentence for people; it never holds anything that the client sent."""
        return _DETAILS[self.reason].format(self.subject)


Verdict = Granted | Denied


@dataclass(frozen=True, slots=True)
class Demand:
    """What a route asks: all of `scopes`, a key of one of `kinds`, in the project it names."""

    scopes: tuple[str, ...]
    kinds: frozenset[KeyKind]
    #: Name of the path parameter that holds the project id; None asks for no project.
    project: str | None
    #: The scopes as a set: what a hit is compared with.
    needed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Propagation:
    """How far a change has spread by the time that the call returns."""

    #: Redis has taken the change, so the other processes are being told.
    acknowledged: bool
    #: After this long no process accepts the old state, whatever else fails.
    bound: timedelta


@dataclass(frozen=True, slots=True)
class Key:
    """A key's row without its digest. Times are aware and in UTC."""

    id: str
    kind: KeyKind
    label: str
    mask: str
    scopes: frozenset[str]
    version: int
    created_at: datetime
    project_id: str | None = None
    user_id: str | None = None
    projects: frozenset[str] | None = None
    organizations: frozenset[str] | None = None
    created_by: str | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    last_rolled_at: datetime | None = None
    #: Set on what `update()` returns: when the change holds everywhere.
    propagation: Propagation | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new secret, which is shown this once and stored nowhere."""

    key: Key
    token: str = field(repr=False)
    #: After a roll: when the old secret is refused everywhere.
    propagation: Propagation | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the activity log, and of the feed that invalidations come from."""

    #: Position in the feed; the order of the numbers is the order of the commits.
    seq: int
    at: datetime
    action: str
    #: The version that the change gave to the key, or to the user for `user_*` actions.
    version: int
    key_id: str | None
    project_id: str | None
    user_id: str | None
    actor: str | None
    before: Mapping[str, object]
    after: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counters of one service in one process, since it was made."""

    l1_hits: int
    l1_negative_hits: int
    l2_hits: int
    store_reads: int
    store_errors: int
    l2_errors: int
    invalidations: int
    l1_size: int
    l1_negative_size: int
