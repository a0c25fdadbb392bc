"""Flask and Quart: the URL map, with its blueprints, and what runs before their views."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from flask.sansio.app import App

from keymw.enforcing import demands_of
from keymw.routes.route import ANY, WEBSOCKET, Route, methods_of, name_of, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keymw.model import Demand

    Walk = Callable[[object], list[Route]]

_PARAMETER = re.compile(r"<(?:([^<>:(]+)(?:\([^<>]*\))?:)?([^<>]+)>")


def is_app(app: object) -> bool:
    """Say whether it is an app of Flask's or Quart's."""
    return isinstance(app, App)


def wrapped(app: Any) -> object:
    """Return the method that is the app, or the middleware that has been put in its place."""
    return app.asgi_app if hasattr(app, "asgi_app") else app.wsgi_app


def routes(app: Any, walk: Walk) -> Iterator[Route]:  # noqa: ARG001 - it mounts nothing
    """Yield the rules of an app's URL map."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if view is None and rule.redirect_to is not None:
            continue
        path = _PARAMETER.sub(lambda match: typed(match[2], match[1] or ""), rule.rule)
        is_socket = getattr(rule, "websocket", False)
        for method in [WEBSOCKET] if is_socket else methods_of(rule.methods or (ANY,)):
            demands = (*_before(app, rule.endpoint, method), *_of_view(view, method))
            yield Route(method, path, name_of(view), demands, parameters=frozenset(rule.arguments))


def _of_view(view: Any, method: str) -> tuple[Demand, ...]:
    """Return what a view demands, and what its class does, for a method."""
    own = demands_of(view)
    found = getattr(view, "view_class", None)
    if found is None:
        return own
    inner = getattr(found, method.lower(), None) if hasattr(found, method.lower()) else None
    if inner is None and method == "HEAD":
        inner = getattr(found, "get", None)
    outer = demands_of(found.dispatch_request)
    return (*own, *outer, *(demands_of(inner) if inspect.isroutine(inner) else ()))


def _before(app: Any, endpoint: str, method: str) -> Iterator[Demand]:
    """Yield what is demanded before the view is called, for the app and for its blueprints."""
    kind = "websocket" if method == WEBSOCKET else "request"
    functions = getattr(app, f"before_{kind}_funcs", {})
    parts = endpoint.split(".")[:-1]
    names = [None, *(".".join(parts[: place + 1]) for place in range(len(parts)))]
    for name in names:
        for function in functions.get(name, ()):
            yield from demands_of(function)
