"""From an app to its routes: through what is wrapped around it, by the framework that it is of."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from keymw.enforcing import demands_of
from keymw.errors import InvalidInput
from keymw.routes.faces import behind, is_face
from keymw.routes.route import Route, opaque, under

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Walk = Callable[[object], list[Route]]


class Lister(Protocol):
    """What a module of this package has that knows a framework."""

    __name__: str

    def is_app(self, app: object) -> bool:
        """Say whether it is one of the framework's apps."""

    def routes(self, app: Any, walk: Walk) -> Iterable[Route]:
        """Return an app's routes; `walk` lists the apps that it mounts."""

    def wrapped(self, app: Any) -> object:
        """Return what requests come to first: a method of the app, or what is around that."""


#: Ours, by the framework's module that must have been imported.
_FRAMEWORKS = {
    "starlette.routing": "starlette",
    "flask.sansio.app": "flask",
    "django.core.handlers.base": "django",
    "litestar.app": "litestar",
    "falcon.app": "falcon",
    "pyramid.router": "pyramid",
    "bottle": "bottle",
}
#: Where middleware keeps the app that it is around.
_INNER = ("app", "wsgi_app", "asgi_app", "application", "wsgi_application", "_app", "inner")
#: Longest chain of wrappers and mounts that is followed.
_DEEPEST = 100


def list_routes(app: object) -> list[Route]:
    """Return every route of an app with what it demands, one for each method.

    For Starlette, FastAPI, Flask, Quart, Django, Litestar, Falcon, Pyramid and Bottle, with what
    they mount, and through middleware that keeps its app where it is usual. A mounted app that does
    not tell its routes is one route, `/prefix/{path:path}`.

    Raises:
        InvalidInput: it is no app, or one that does not tell its routes and has no rules.
    """
    if not callable(app):
        raise InvalidInput("app", f"{type(app).__name__} is no ASGI or WSGI app.")
    routes = _walk(app, 0)
    if all(route.opaque and route.is_open for route in routes) and routes:
        raise InvalidInput(
            "app",
            f"the routes of {routes[0].view} cannot be listed: it is of no framework known here, "
            "or middleware that does not show its app. Give the app itself; of a function that "
            "makes one, what it returns.",
        )
    return routes


def imports_routes(app: object) -> bool:
    """Say whether an app's routes are imported when they are listed, as Django's are."""
    for _ in range(_DEEPEST):
        app = getattr(app, "__self__", app)
        lister = _lister(app)
        if lister is not None:
            return lister.__name__ == f"{__package__}.django"
        inner = (getattr(app, name, None) for name in ("__wrapped__", *_INNER))
        app = next((each for each in inner if callable(each)), None)
    return False


def _walk(app: object, depth: int) -> list[Route]:
    def walk(inner: object) -> list[Route]:
        return _walk(inner, depth + 1)

    if depth > _DEEPEST:
        return [opaque(app)]
    if is_face(app):
        return behind(app, walk(cast("Any", app).app))
    lister = _lister(app)
    if lister is not None:
        first = lister.wrapped(app)
        owner = getattr(first, "__self__", first)
        return list(lister.routes(app, walk)) if owner is app else walk(first)
    if inspect.ismethod(app):
        lister = _lister(app.__self__)
        # The app's own method, to which what is around the app has come in the end.
        return walk(app.__self__) if lister is None else list(lister.routes(app.__self__, walk))
    return _unwrapped(app, walk)


def _unwrapped(app: object, walk: Walk) -> list[Route]:
    """Return the routes of what an app is around, if that is known."""
    own = demands_of(app)
    within = getattr(app, "__wrapped__", None)
    if within is not None:
        # What it demands has come from there, as far as that demands something by itself.
        own = own[len(demands_of(within)) :]
        return under("", walk(within), own)
    for name in _INNER:
        inner = getattr(app, name, None)
        if callable(inner) and not inspect.isfunction(app):
            mounts = getattr(app, "mounts", None)
            below = mounts.items() if isinstance(mounts, dict) else ()
            routes = [route for path, each in below for route in under(path, walk(each))]
            return under("", [*routes, *walk(inner)], own)
    return under("", [opaque(app)], own, None)


def _lister(app: object) -> Lister | None:
    """Return what knows the framework of an app."""
    for framework, ours in _FRAMEWORKS.items():
        if framework in sys.modules:
            lister = cast("Lister", import_module(f"keymw.routes.{ours}"))
            if lister.is_app(app):
                return lister
    return None
