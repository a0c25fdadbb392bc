"""Litestar: handlers with the guards of every layer, and the apps that it mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.middleware import DefineMiddleware
from litestar.routes import ASGIRoute, HTTPRoute

from keymw.integrations.litestar import demands_on
from keymw.routes.faces import behind, is_face_class
from keymw.routes.route import ANY, REST, WEBSOCKET, Route, methods_of, name_of, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Walk = Callable[[object], list[Route]]


def is_app(app: object) -> bool:
    """Say whether it is an app of Litestar's."""
    return isinstance(app, Litestar)


def wrapped(app: Any) -> object:
    """Return the app: what is around it, it keeps as a list."""
    return app


def routes(app: Any, walk: Walk) -> Iterable[Route]:  # noqa: ARG001 - one route an app it mounts
    """Return an app's routes, behind the faces among its middleware."""
    found = [each for route in app.routes for each in _of_route(route)]
    for each in reversed(app.middleware):
        if isinstance(each, DefineMiddleware) and is_face_class(each.middleware):
            found = behind(each(app), found)
    return found


def _of_route(route: Any) -> Iterator[Route]:
    path = "".join(
        f"/{part}"
        if isinstance(part, str)
        else f"/{typed(part.name, '' if part.type is str else part.full.partition(':')[2])}"
        for part in route.path_components
    )
    names = frozenset(route.path_parameters)
    if isinstance(route, HTTPRoute):
        for handler in route.route_handlers:
            name, demands = name_of(handler.fn), tuple(demands_on(handler))
            methods = set(map(str, handler.http_methods))
            for method in methods_of(methods) if methods != {"OPTIONS"} else ():
                yield Route(method, path or "/", name, demands, parameters=names)
        return
    handler = route.route_handler
    is_mount = isinstance(route, ASGIRoute)
    where = path.rstrip("/") + REST if is_mount and handler.is_mount else path or "/"
    yield Route(
        ANY if is_mount else WEBSOCKET,
        where,
        name_of(handler.fn),
        tuple(demands_on(handler)),
        opaque=is_mount,
        parameters=names,
    )
