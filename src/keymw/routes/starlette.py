"""Starlette and FastAPI: routers, mounts, hosts, included routers, classes and dependencies."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import BaseRoute, Host, Mount, Router, WebSocketRoute
from starlette.routing import Route as StarletteRoute

from keymw.enforcing import demands_of
from keymw.routes.faces import behind, is_face_class
from keymw.routes.route import ANY, REST, WEBSOCKET, Route, methods_of, name_of, opaque, under

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from keymw.model import Demand

    Walk = Callable[[object], list[Route]]

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


def is_app(app: object) -> bool:
    """Say whether it is an app of Starlette's or FastAPI's, or a router, which is one too."""
    return isinstance(app, (Starlette, Router))


def wrapped(app: Any) -> object:
    """Return the app: what is around it, it keeps as a list."""
    return app


def routes(app: Any, walk: Walk) -> Iterable[Route]:
    """Return an app's routes, behind the faces among its middleware."""
    if isinstance(app, Router):
        return _of_router(app, walk)
    found = _of_router(app.router, walk)
    for cls, args, options in reversed(app.user_middleware):
        if is_face_class(cls):
            found = behind(cls(app.router, *args, **options), found)
    return found


def _of_router(router: Router, walk: Walk) -> list[Route]:
    found = [each for route in router.routes for each in _of_route(route, walk)]
    if router.default != router.not_found:
        found += walk(router.default)
    return found


def _of_route(route: BaseRoute, walk: Walk) -> Iterable[Route]:
    if isinstance(route, StarletteRoute):
        return _of_endpoint(route)
    if isinstance(route, WebSocketRoute):
        return [_listed(route, WEBSOCKET, route.endpoint, _demands_of_socket(route))]
    if isinstance(route, Mount):
        names = frozenset(route.param_convertors) - {"path"}
        return under(route.path, walk(route.app), (), names)
    if isinstance(route, Host):
        return under("", walk(route.app), (), frozenset(route.param_convertors))
    if hasattr(route, "effective_candidates"):
        return _of_included(route, walk)
    path = getattr(route, "path", None)
    return under(path or "", [opaque(route)], _of_dependencies(route), None)


def _of_included(router: Any, walk: Walk) -> Iterator[Route]:
    """Yield the routes of a router that FastAPI has included, with the prefix and dependencies."""
    for found in (*router.effective_candidates(), *router.effective_low_priority_routes()):
        if hasattr(found, "effective_candidates"):
            yield from _of_included(found, walk)
            continue
        route = found.starlette_route
        yield from (
            _of_endpoint(found) if route is None and found.path else _of_route(route or found, walk)
        )


def _of_endpoint(route: Any) -> Iterator[Route]:
    endpoint = route.endpoint
    if inspect.isclass(endpoint) and issubclass(endpoint, HTTPEndpoint):
        methods = {name: getattr(endpoint, name, None) for name in _METHODS}
        served = {name for name, method in methods.items() if method is not None}
        allowed = {name.lower() for name in route.methods or served}
        outer = demands_of(endpoint.dispatch)
        for method in methods_of(served & allowed):
            view = methods[method.lower()]
            yield _listed(route, method, view, (*outer, *demands_of(view)))
        return
    demands = (*_of_dependencies(route), *demands_of(endpoint))
    for method in methods_of(route.methods or ()) or [ANY]:
        yield _listed(route, method, endpoint, demands)


def _demands_of_socket(route: WebSocketRoute) -> tuple[Demand, ...]:
    endpoint: Any = route.endpoint
    if inspect.isclass(endpoint):
        return demands_of(getattr(endpoint, "dispatch", None)) + demands_of(
            getattr(endpoint, "on_connect", None)
        )
    return (*_of_dependencies(route), *demands_of(endpoint))


def _listed(route: Any, method: str, view: object, demands: tuple[Demand, ...]) -> Route:
    names = frozenset(route.param_convertors)
    return Route(method, route.path or REST, name_of(view), demands, parameters=names)


def _of_dependencies(route: object) -> tuple[Demand, ...]:
    """Return what the dependencies of a route of FastAPI's demand, before its view does."""
    if "fastapi" not in sys.modules:
        return ()
    dependant = getattr(route, "dependant", None)
    return () if dependant is None else tuple(_of_dependant(dependant))


def _of_dependant(dependant: Any) -> Iterator[Demand]:
    from keymw.integrations import fastapi  # noqa: PLC0415 - the app's own

    for inner in dependant.dependencies:
        yield from _of_dependant(inner)
        if isinstance(inner.call, fastapi.KeyAuth):
            scopes = (*(inner.parent_oauth_scopes or ()), *(inner.own_oauth_scopes or ()))
            yield inner.call.demand(dict.fromkeys(scopes))
        else:
            yield from demands_of(inner.call)
