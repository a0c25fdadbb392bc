"""What a `KeyAuthMiddleware` adds to what the routes behind it demand.

By its attributes, because the faces stand above this: they have their apps checked here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keymw.model import Denied
from keymw.policy import make_demand
from keymw.principals import KeyKind
from keymw.routes.route import ANY, REST, Route, names_in, sample
from keymw.rules.reading import Reading
from keymw.rules.rule import Rule
from keymw.rules.templates import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keymw.rules import Rules

_FACES = ("keymw.asgi", "keymw.wsgi")
_ANY_KEY = make_demand((), tuple(KeyKind), None)


def is_face_class(found: object) -> bool:
    """Say whether a middleware's class is a face."""
    mro = found.__mro__ if isinstance(found, type) else ()
    return any(base.__module__ in _FACES and base.__name__ == "KeyAuthMiddleware" for base in mro)


def is_face(app: object) -> bool:
    """Say whether an app is a face around another one."""
    return is_face_class(type(app))


def behind(face: Any, routes: Iterable[Route]) -> list[Route]:
    """Return routes with what the face in front of them demands."""
    rules: Rules | None = getattr(face._guarded, "rules", None)  # noqa: SLF001 - see above
    found = list(routes)
    if rules is not None:
        found = [ruled for route in found for ruled in _judged(rules, route)]
    required = (_ANY_KEY,) if face._required else ()  # noqa: SLF001
    catalog = face._keys.catalog  # noqa: SLF001
    return [
        replace(
            route,
            ruled=(*required, *route.ruled),
            # The innermost face says who the request is.
            catalog=route.catalog or catalog,
        )
        for route in found
    ]


def _judged(rules: Rules, route: Route) -> Iterator[Route]:
    """Yield a route with what rules demand of it, by method where they name methods."""
    if route.opaque and route.path == REST:
        yield from _of_rules(rules, route)
        return
    if route.method == ANY:
        for method in sorted(rules._tables):  # noqa: SLF001
            found = _find(rules, method, route.path)
            if method != "HEAD" and isinstance(found, Rule):
                yield _with(replace(route, method=method), found)
    yield _with(route, _find(rules, route.method, route.path))


def _of_rules(rules: Rules, route: Route) -> Iterator[Route]:
    """Yield what is known of an app that does not tell its routes: its rules."""
    for rule in rules.rules:
        for method in rule.methods:
            known = replace(route, method=method, path=rule.path, parameters=names_in(rule.path))
            yield replace(_with(known, rule), opaque=False)
    yield replace(route, closed=rules.default == "deny")


def _find(rules: Rules, method: str, path: str) -> Rule | Denied | None:
    example = sample(path)
    reading = Reading(method, example, fold(example).removesuffix("/"))
    return rules._find(reading)  # noqa: SLF001 - of the same package


def _with(route: Route, found: Rule | Denied | None) -> Route:
    if isinstance(found, Denied):
        return replace(route, closed=True)
    if found is None or found.demand is None:
        return route
    return replace(route, ruled=(*route.ruled, found.demand))
