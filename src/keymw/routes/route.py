"""One route, and the templates by which frameworks write paths, in one form."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keymw.model import Demand
    from keymw.scopes import ScopeCatalog

#: Every method that the view may take, where its framework does not say which.
ANY = "*"
#: A path of which only the beginning is known.
REST = "/{path:path}"
WEBSOCKET = "WEBSOCKET"

_PARAMETER = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


@dataclass(frozen=True, slots=True)
class Route:
    """What requests with one method and one template of paths demand."""

    #: In capitals; `*` for any; `WEBSOCKET` for the opening of one. GET holds for HEAD too.
    method: str
    #: `/projects/{project_id}`; a parameter that is no plain segment has its type:
    #: `{number:int}`, `{rest:path}`.
    path: str
    #: The view's name.
    view: str = field(compare=False)
    #: What the route itself demands, by decorators, guards, hooks and dependencies.
    own: tuple[Demand, ...] = ()
    #: What the middleware in front of it demands, by `rules=` and `required=`.
    ruled: tuple[Demand, ...] = ()
    #: No key opens it: that is what rules say of it.
    closed: bool = False
    #: An app that does not tell its routes; this stands for all of them.
    opaque: bool = False
    #: Names of the path's parameters as the view is given them; None where nobody knows.
    parameters: frozenset[str] | None = field(default=None, compare=False, repr=False)
    #: The catalog of the service whose middleware is nearest to it.
    catalog: ScopeCatalog | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.view})"

    @property
    def demands(self) -> tuple[Demand, ...]:
        """All that it demands; each of them has to be met."""
        return (*self.own, *self.ruled)

    @property
    def is_open(self) -> bool:
        """Whether it demands nothing at all."""
        return not self.demands and not self.closed

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a key needs."""
        return tuple(dict.fromkeys(scope for each in self.demands for scope in each.scopes))

    @property
    def kinds(self) -> tuple[KeyKind, ...]:
        """The kinds of key that it takes."""
        return tuple(
            kind
            for kind in KeyKind
            if self.demands and all(kind in demand.kinds for demand in self.demands)
        )

    @property
    def projects(self) -> tuple[str, ...]:
        """The path parameters that must be the key's project."""
        named = (demand.project for demand in self.demands if demand.project is not None)
        return tuple(dict.fromkeys(named))


def name_of(view: object) -> str:
    """Return how a view is called in messages."""
    name = getattr(view, "__qualname__", None) or getattr(view, "__name__", None)
    return str(name or type(view).__qualname__)


def opaque(app: object) -> Route:
    """Return what stands for an app that does not tell its routes."""
    return Route(ANY, REST, name_of(app), opaque=True)


def under(
    prefix: str,
    routes: Iterable[Route],
    own: tuple[Demand, ...] = (),
    parameters: frozenset[str] | None = frozenset(),
) -> list[Route]:
    """Return the routes of an app below a prefix that demands something itself."""
    return [
        replace(
            route,
            path=prefix.rstrip("/") + route.path,
            own=(*own, *route.own),
            parameters=None
            if route.parameters is None or parameters is None
            else route.parameters | parameters,
        )
        for route in routes
    ]


def methods_of(names: Iterable[str]) -> list[str]:
    """Return methods to list: HEAD follows GET, and OPTIONS is answered by the framework."""
    found = {name.upper() for name in names}
    rest = found - ({"HEAD"} if "GET" in found else set())
    return sorted(rest - {"OPTIONS"}) or sorted(rest)


def typed(name: str, kind: str) -> str:
    """Return a parameter of a template."""
    return f"{{{name}}}" if kind in ("", "str", "string", "default") else f"{{{name}:{kind}}}"


def plainly(path: str) -> str:
    """Return a template without the types of its parameters, to compare it by."""
    return _PARAMETER.sub(r"{\1}", path)


def names_in(path: str) -> frozenset[str]:
    """Return the names of a template's parameters."""
    return frozenset(match[1] for match in _PARAMETER.finditer(path))


def sample(path: str) -> str:
    """Return a path that a template is for, and that no other template means in particular."""
    return _PARAMETER.sub(lambda match: _SAMPLES.get(match[2] or "", "some-value"), path)


_SAMPLES = {"int": "1", "path": "some/value"}
