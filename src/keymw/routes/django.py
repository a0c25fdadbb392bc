"""Django and REST framework: the URLconf, with what it includes."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from keymw.enforcing import demands_of
from keymw.errors import UnmeetableDemand
from keymw.routes.faces import behind
from keymw.routes.route import ANY, Route, methods_of, name_of, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from keymw.model import Demand

    Walk = Callable[[object], list[Route]]

_PARAMETER = re.compile(r"<(?:([^<>:]+):)?([^<>]+)>")
_GROUP = re.compile(r"\(\?P<(\w+)>[^()]*(?:\([^()]*\)[^()]*)*\)")
_MIDDLEWARE = "keymw.integrations.django.KeyAuthMiddleware"


def is_app(app: object) -> bool:
    """Say whether it is what `get_wsgi_application` or `get_asgi_application` returns."""
    if isinstance(app, BaseHandler):
        return True
    ours = sys.modules.get("keymw.integrations.django.middleware")
    return ours is not None and isinstance(app, ours.KeyAuthMiddleware)


def wrapped(app: Any) -> object:
    """Return the app: what is around it, the setting `MIDDLEWARE` says."""
    return app


def routes(app: Any, walk: Walk) -> Iterable[Route]:  # noqa: ARG001 - it mounts nothing
    """Return the routes of the root URLconf, behind the face among its middleware.

    Raises:
        UnmeetableDemand: views of REST framework do not say what they demand, or say what is none.
    """
    ours = sys.modules.get("keymw.integrations.rest_framework")
    if ours is not None and (problems := [problem for _, problem in ours.undeclared()]):
        raise UnmeetableDemand(list(dict.fromkeys(problems)))
    found = list(_of_patterns(get_resolver().url_patterns, "/", frozenset()))
    if isinstance(app, BaseHandler) and _has_face():
        from keymw.integrations.django import configuration  # noqa: PLC0415 - the project's own

        make = (
            configuration.asgi_face
            if "ASYNC_SERVICE" in settings.KEYMW
            else configuration.wsgi_face
        )
        found = behind(make(None), found)
    return found


def _has_face() -> bool:
    return _MIDDLEWARE in settings.MIDDLEWARE and hasattr(settings, "KEYMW")


def _of_patterns(patterns: Iterable[Any], prefix: str, names: frozenset[str]) -> Iterator[Route]:
    for pattern in patterns:
        path = prefix + _template(pattern.pattern)
        known = names | pattern.pattern.converters.keys() | _groups(pattern.pattern)
        if isinstance(pattern, URLResolver):
            known |= pattern.default_kwargs.keys()
            yield from _of_patterns(pattern.url_patterns, path, known)
        elif isinstance(pattern, URLPattern):
            known |= pattern.default_args.keys()
            for route in _of_view(pattern.callback, path):
                yield replace(route, parameters=known)


def _template(pattern: Any) -> str:
    """Return a pattern as a template; what is a regular expression beyond names stays as it is."""
    text = str(pattern)
    if isinstance(pattern, RoutePattern):
        return _PARAMETER.sub(lambda match: typed(match[2], match[1] or ""), text)
    return _GROUP.sub(r"{\1}", text.removeprefix("^").removesuffix("$").removesuffix("\\Z"))


def _groups(pattern: Any) -> frozenset[str]:
    regex = getattr(pattern, "regex", None)
    return frozenset(regex.groupindex) if regex is not None else frozenset()


def _of_view(view: Any, path: str) -> Iterator[Route]:
    """Yield a view by method, where its class says which it takes."""
    # Django copies what `dispatch` has on to the view that it makes of the class.
    own = demands_of(view)
    found = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if found is None:
        yield Route(ANY, path, name_of(view), own)
        return
    named: dict[str, str] = getattr(view, "actions", None) or {
        method: method for method in found.http_method_names if hasattr(found, method)
    }
    for method in methods_of(named):
        inner = getattr(found, named.get(method.lower(), method.lower()), None)
        demands = (*own, *_by_permissions(view, found, method), *_of_method(inner))
        yield Route(method, path, found.__name__, demands)


def _of_method(method: Any) -> tuple[Demand, ...]:
    """Return what a method demands; that of `@api_view` calls the function that was decorated."""
    own = demands_of(method)
    if (
        own
        or not inspect.isfunction(method)
        or method.__qualname__ != "api_view.<locals>.decorator.<locals>.handler"
    ):
        return own
    return demands_of(inspect.getclosurevars(method).nonlocals.get("func"))


def _by_permissions(view: Any, found: Any, method: str) -> tuple[Demand, ...]:
    """Return what `HasScopes` demands, where nobody comes past it by another permission."""
    ours = sys.modules.get("keymw.integrations.rest_framework")
    initkwargs = getattr(view, "initkwargs", {})
    permissions = initkwargs.get("permission_classes", getattr(found, "permission_classes", ()))
    if ours is None or not any(_insists(ours, each) for each in permissions):
        return ()
    return (ours.demand_of(found(**initkwargs), method),)


def _insists(ours: Any, permission: Any) -> bool:
    operator = getattr(permission, "operator_class", None)
    if operator is None:
        return inspect.isclass(permission) and issubclass(permission, ours.HasScopes)
    return operator.__name__ == "AND" and (
        _insists(ours, permission.op1_class) or _insists(ours, permission.op2_class)
    )
