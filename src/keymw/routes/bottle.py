"""Bottle: routes, and the WSGI apps that it mounts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bottle import Bottle

from keymw.enforcing import demands_of
from keymw.routes.route import ANY, Route, methods_of, name_of, typed, under

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Walk = Callable[[object], list[Route]]

_PARAMETER = re.compile(r"<(\w*)(?::(\w+)(?::((?:\\.|[^\\>])+))?)?>")


def is_app(app: object) -> bool:
    """Say whether it is an app of Bottle's."""
    return isinstance(app, Bottle)


def wrapped(app: Any) -> object:
    """Return the method that is the app, or the middleware that has been put in its place."""
    return app.wsgi


def routes(app: Any, walk: Walk) -> Iterator[Route]:
    """Yield an app's routes."""
    mounted: set[str] = set()
    for route in app.routes:
        mount = route.config.get("mountpoint.target")
        if mount is not None:
            prefix = route.config["mountpoint.prefix"]
            if prefix not in mounted:
                mounted.add(prefix)
                yield from under(prefix, walk(mount))
            continue
        path = _PARAMETER.sub(lambda match: typed(match[1], match[2] or ""), route.rule)
        names = frozenset(match[1] for match in _PARAMETER.finditer(route.rule))
        methods = [ANY] if route.method == "ANY" else methods_of([route.method])
        for method in methods:
            yield Route(
                method,
                path,
                name_of(route.callback),
                demands_of(route.callback),
                parameters=names,
            )
