"""Pyramid: views by their routes, or by traversal, as the configuration has recorded them."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from pyramid.config.views import isexception
from pyramid.interfaces import IRoutesMapper
from pyramid.router import Router

from keymw.enforcing import demands_of
from keymw.routes.route import ANY, REST, Route, methods_of, name_of, opaque, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keymw.model import Demand

    Walk = Callable[[object], list[Route]]

_PARAMETER = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})*))?\}|\*(\w+)$|:(\w+)")


def is_app(app: object) -> bool:
    """Say whether it is what `make_wsgi_app` returns."""
    return isinstance(app, Router)


def wrapped(app: Any) -> object:
    """Return the app: its tweens, it keeps within."""
    return app


def routes(app: Any, walk: Walk) -> Iterator[Route]:  # noqa: ARG001 - it mounts nothing
    """Yield the views that answer requests; those for exceptions answer none by themselves."""
    # `introspection=False` of a Configurator leaves nothing to read.
    if not app.registry.introspector.get_category("views", ()):
        yield opaque(app)
        return
    for each in app.registry.introspector.get_category("views", ()):
        view = each["introspectable"]
        if not view["exception_only"] and not isexception(view["context"]):
            yield from _of_view(app.registry, view)


def _of_view(registry: Any, view: Any) -> Iterator[Route]:
    path, route_methods, names = _place(registry, view)
    own = _demands_of(view)
    methods = view["request_methods"] or route_methods
    for method in methods_of(_named(methods)):
        yield Route(method, path, name_of(view["callable"]), own, parameters=names)


def _place(registry: Any, view: Any) -> tuple[str, Any, frozenset[str] | None]:
    """Return the path, methods and parameters of the route that leads to a view."""
    if view["route_name"] is None:
        name = view["name"]
        return (f"{REST}/{name}" if name else REST), None, None
    record = registry.introspector.get("routes", view["route_name"])
    pattern = record["pattern"]
    names = frozenset(map(_name, _PARAMETER.finditer(pattern)))
    route = registry.getUtility(IRoutesMapper).get_route(view["route_name"])
    # Predicates may add to what the path has given.
    known = None if route is None or route.predicates else names
    return "/" + _PARAMETER.sub(_typed, pattern).lstrip("/"), record["request_methods"], known


def _name(match: re.Match[str]) -> str:
    braced, _, rest, old = match.groups()
    return str(braced or rest or old)


def _typed(match: re.Match[str]) -> str:
    _, kind, rest, _ = match.groups()
    return typed(_name(match), "path" if rest else kind or "")


def _named(methods: Any) -> tuple[str, ...]:
    """Return the methods of a predicate: one, several, or any but some."""
    if isinstance(methods, str):
        return (methods,)
    return methods if isinstance(methods, tuple) else (ANY,)


def _demands_of(view: Any) -> tuple[Demand, ...]:
    """Return what a view's configuration demands, its class, and the method that is called."""
    found: tuple[Demand, ...] = demands_of(view["callable"])
    for each in _derived(view.get("derived_callable")):
        # The derived view that asks has what it asks after what is asked by the view itself.
        found = max(found, demands_of(each), key=len)
    if inspect.isclass(view["callable"]):
        method = getattr(view["callable"], view["attr"] or "__call__", None)
        found = (*found, *demands_of(method))
    return found


def _derived(view: Any) -> Iterator[Any]:
    """Yield a derived view and those within it; the innermost may say that it wraps itself."""
    seen: set[int] = set()
    while view is not None and id(view) not in seen:
        seen.add(id(view))
        yield view
        view = getattr(view, "__wraps__", None)
