"""Who a request can be: a project's machine, a user, nobody. And what each may do by its scopes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self


class KeyKind(StrEnum):
    """Whom a key belongs to; a plain string of the same value works wherever a kind is asked."""

    PROJECT_SECRET = "project_secret"  # noqa: S105 - a name
    PERSONAL = "personal"

    @property
    def plural(self) -> str:
        """How answers name keys of this kind."""
        return "project secret API keys" if self is KeyKind.PROJECT_SECRET else "personal API keys"


@lru_cache(maxsize=4096)
def granted_by(scopes: frozenset[str]) -> frozenset[str]:
    """Return the scopes with those they imply: `write` grants `read` of the same object.

    Equal sets come back as one object, so that many keys share it.
    """
    implied = {scope[: -len("write")] + "read" for scope in scopes if scope.endswith(":write")}
    return scopes | implied


class _User:
    """What Django and its REST framework ask of a user besides `is_authenticated`.

    A key is no row of Django's users: it is no staff, and has none of the permissions there.
    """

    __slots__ = ()

    is_active: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False
    is_staff: ClassVar[bool] = False
    is_superuser: ClassVar[bool] = False

    @property
    def identity(self) -> str:
        """Who it is."""
        raise NotImplementedError

    @property
    def pk(self) -> str:
        """The identity, by which throttles count."""
        return self.identity

    def get_username(self) -> str:
        """Return the identity."""
        return self.identity

    def has_perm(self, perm: str, obj: object = None) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def has_perms(self, perms: object, obj: object = None) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002
        """Return False."""
        return False


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
class ServicePrincipal(_User):
    """A project's key: nobody's, so it outlives the employee who made it."""

    key_id: str
    project_id: str
    label: str
    scopes: frozenset[str]
    #: What people may see of the secret that was used.
    mask: str = field(default="", compare=False)
    #: When that secret ends, for one that was rolled; None for the key's current one.
    retired_until: datetime | None = field(default=None, compare=False)
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
class UserPrincipal(_User):
    """A user, by one of the user's personal keys; it ends with the user's access."""

    key_id: str
    user_id: str
    label: str
    scopes: frozenset[str]
    #: Project ids that the key is limited to; None is no limit by the key.
    projects: frozenset[str] | None = None
    #: Organization ids that the key is limited to; None is no limit by the key.
    organizations: frozenset[str] | None = None
    #: What people may see of the secret that was used.
    mask: str = field(default="", compare=False)
    #: When that secret ends, for one that was rolled; None for the key's current one.
    retired_until: datetime | None = field(default=None, compare=False)
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
