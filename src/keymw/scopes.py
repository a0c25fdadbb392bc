"""Scopes, `object:action`: their grammar, what they imply, and which kind of key may hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from keymw.errors import InvalidInput
from keymw.principals import WILDCARD, KeyKind, granted_by

_ACTIONS = ("read", "write")
_SCOPE = re.compile(r"[a-z][a-z0-9_]*:(?:read|write)", re.ASCII)
_OBJECT = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


def parse_scopes(scopes: Iterable[str], *, field: str = "scopes") -> frozenset[str]:
    """Return the scopes as a set; the wildcard passes.

    Raises:
        InvalidInput: one is not of the form `object:read` or `object:write`, or `scopes` is no
            list of them but a single string (whose letters would be taken for scopes) or less.
    """
    if isinstance(scopes, str):
        raise InvalidInput(field, f"give a list of scopes, not one string: [{scopes!r}].")
    if not isinstance(scopes, Iterable):
        raise InvalidInput(field, f"give a list of scopes, not {type(scopes).__name__}.")
    found: list[str] = []
    for scope in scopes:
        if not isinstance(scope, str) or (scope != WILDCARD and not _SCOPE.fullmatch(scope)):
            raise InvalidInput(
                field, f"{scope!r} is not a scope: write object:read or object:write."
            )
        found.append(scope)
    return frozenset(found)


class ScopeCatalog:
    """The scopes that exist, and those that a project secret key may hold.

    Args:
        objects: actions by object, `{"endpoint": ("read", "write")}`.
        project_secret: scopes that project secret keys may hold. None by default: an
            application names what machines may do.

    Raises:
        InvalidInput: an object, action or scope is malformed, or `project_secret` names a
            scope that does not exist.
    """

    #: Every scope that exists.
    scopes: frozenset[str]
    #: Those that a project secret key may hold.
    project_secret: frozenset[str]

    def __init__(
        self, objects: Mapping[str, Iterable[str]], project_secret: Iterable[str] = ()
    ) -> None:
        if not isinstance(objects, Mapping):
            raise InvalidInput("objects", "give actions by object: {'endpoint': ('read',)}.")
        scopes: set[str] = set()
        for name, actions in objects.items():
            if not isinstance(name, str) or not _OBJECT.fullmatch(name):
                raise InvalidInput("objects", f"{name!r} is not an object: write [a-z][a-z0-9_]*.")
            for action in (actions,) if isinstance(actions, str) else actions:
                if action not in _ACTIONS:
                    raise InvalidInput("objects", f"{action!r} of {name!r} is not read or write.")
                scopes.add(f"{name}:{action}")
        self.scopes = frozenset(scopes)
        allowed = parse_scopes(project_secret, field="project_secret")
        if missing := allowed - self.scopes:
            raise InvalidInput("project_secret", f"{min(missing)!r} is not in the catalog.")
        self.project_secret = granted_by(allowed)

    def __repr__(self) -> str:
        return f"<ScopeCatalog of {len(self.scopes)} scopes>"


def check_grant(
    kind: KeyKind, scopes: Iterable[str], catalog: ScopeCatalog | None
) -> frozenset[str]:
    """Return the scopes as a set if a key of this kind may be given them.

    Raises:
        InvalidInput: there is none, or one is malformed, does not exist, or is not for this kind
            of key.
    """
    wanted = parse_scopes(scopes)
    if not wanted:
        raise InvalidInput("scopes", "a key without any would open nothing: give at least one.")
    named = wanted - {WILDCARD}
    if kind is KeyKind.PROJECT_SECRET and WILDCARD in wanted:
        raise InvalidInput("scopes", "a project secret key cannot hold '*': name its scopes.")
    if catalog is None:
        return wanted
    if unknown := named - catalog.scopes:
        raise InvalidInput("scopes", f"{min(unknown)!r} is not in the catalog.")
    if kind is KeyKind.PROJECT_SECRET and (barred := named - catalog.project_secret):
        raise InvalidInput("scopes", f"a project secret key may not hold {min(barred)!r}.")
    return wanted


def usable(kind: KeyKind, scopes: frozenset[str], catalog: ScopeCatalog | None) -> frozenset[str]:
    """Return those of a stored key's scopes that still count when it is used.

    The check at the grant is not enough: a row may have been imported or edited, and a catalog
    may have become narrower since.
    """
    if kind is KeyKind.PERSONAL:
        return scopes
    if catalog is None:
        return scopes - {WILDCARD}
    return scopes & catalog.project_secret
