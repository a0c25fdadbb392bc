"""The values that keymw is about: keys, verdicts, demands, events. Frozen; none does I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from keymw.principals import Credentials, GrantedScopes, ServicePrincipal, UserPrincipal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from keymw.principals import KeyKind, Principal


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
    AMBIGUOUS = "ambiguous_request"
    NO_RULE = "no_rule"
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
    Reason.AMBIGUOUS: "The request can be read in more than one way: send its path plainly.",
    Reason.NO_RULE: "This endpoint is not open to API keys.",
    Reason.UNAVAILABLE: "The API key cannot be checked at the moment. Try again shortly.",
}


@dataclass(frozen=True, slots=True)
class Granted:
    """The key is good."""

    principal: Principal
    #: Made once, with the verdict, for every request that it serves.
    credentials: Credentials = field(init=False, repr=False, compare=False)
    #: What a face has made of the verdict, to be the same for every request; the face's own.
    access: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        """Make the credentials of the principal."""
        object.__setattr__(self, "credentials", Credentials(GrantedScopes(self.principal)))

    def keep(self, access: object) -> None:
        """Keep what a face has made of the verdict, for as long as the verdict is kept."""
        object.__setattr__(self, "access", access)


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
    #: The kinds as classes of principals, which hash faster.
    takers: frozenset[type[Principal]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Name the classes of the kinds."""
        classes = (ServicePrincipal, UserPrincipal)
        takers = frozenset(found for found in classes if found.kind in self.kinds)
        object.__setattr__(self, "takers", takers)


@dataclass(frozen=True, slots=True)
class Propagation:
    """How far a change has spread by the time that the call returns."""

    #: Redis has taken the change, so the other processes are being told.
    acknowledged: bool
    #: After this long no process accepts the old state, whatever else fails.
    bound: timedelta


@dataclass(frozen=True, slots=True)
class RetiredSecret:
    """A secret that a key had before it was rolled."""

    mask: str
    #: Until when it works; a time long ago, if it was rolled without grace.
    valid_until: datetime
    #: Since it was replaced; None if nobody has used it since.
    last_used_at: datetime | None = None


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
    #: The secrets that it had before, newest first; known to `get()` alone.
    retired: tuple[RetiredSecret, ...] = field(default=(), repr=False, compare=False)
    #: Set on what `update()` returns: when the change holds everywhere.
    propagation: Propagation | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Deactivation(Propagation):
    """What the end of a user's access has ended, and what it has left alone."""

    #: How many live keys of the user were ended.
    personal_keys: int = 0
    #: Live project keys that the user has made: they go on, and somebody should take them over.
    project_keys: tuple[Key, ...] = ()


class Outcome(StrEnum):
    """What came of the report of a leaked token."""

    #: No key has, or had, this secret.
    UNKNOWN = "unknown"
    #: The secret did not work any more, so nothing was changed.
    ENDED = "ended"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Leak:
    """What came of the report of a leaked token."""

    outcome: Outcome
    #: The key that has, or had, the secret.
    key: Key | None = None
    #: When the key is refused everywhere, if it was revoked now.
    propagation: Propagation | None = None


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
    #: Why, as far as somebody has said so.
    reason: str | None = None
    #: Of a `rolled` key: when the secret that was replaced then was last used after that.
    old_secret_last_used_at: datetime | None = None


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
