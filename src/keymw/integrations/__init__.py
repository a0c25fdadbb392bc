"""One small module a framework: where its views leave the request, and how it says a refusal.

None is imported before its framework has been. Nothing that a client can send is ever taken for a
request: only what a server or a framework hands over in the place, or as an object of the class,
that is its own.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from inspect import unwrap
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from keymw.access import current
from keymw.integrations import plain

if TYPE_CHECKING:
    from keymw.access import Access, Connection
    from keymw.errors import AccessDenied
    from keymw.model import Denied

    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]


class Integration(Protocol):
    """What a module of this package has. `request` is whatever it likes to know a request by."""

    def called(self, args: Args, kwargs: Kwargs) -> Any | None:
        """Return the request that the framework has called a view with, if it has."""

    def serving(self) -> Any | None:
        """Return the request that the framework serves in this context, if it keeps one there."""

    def of(self, connection: Connection) -> Any | None:
        """Return the request of a connection, if it is the framework that serves it."""

    def connection(self, request: Any) -> Connection:
        """Return the ASGI scope or WSGI environ, as the view's app has it."""

    def parameter(self, request: Any, name: str) -> object:
        """Return a parameter of the path that was matched, or None."""

    def refuse(self, request: Any, access: Access, denied: Denied) -> AccessDenied:
        """Return what a view raises for its app to answer this refusal."""


#: Ours, by the framework's module that must have been imported. What is built upon another
#: framework stands before it.
_FRAMEWORKS = {
    "litestar": "litestar",
    "falcon": "falcon",
    "fastapi": "fastapi",
    "starlette.requests": "starlette",
    "quart": "quart",
    "flask": "flask",
    "rest_framework.views": "rest_framework",
    "django.http": "django",
    "pyramid.request": "pyramid",
    "bottle": "bottle",
}


@lru_cache(maxsize=1)
def _running(modules: int) -> tuple[Integration, ...]:  # noqa: ARG001 - when to look again
    """Return the integrations of what has been imported, by the time that so many modules were."""
    return tuple(
        cast("Integration", import_module(f"{__name__}.{ours}"))
        for framework, ours in _FRAMEWORKS.items()
        if framework in sys.modules
    )


def is_anothers(view: Any, framework: str) -> bool:
    """Say whether a view is written for a framework known here that is not this one.

    That shows in its module, which has names of the other framework and none of this one.
    Starlette's say nothing: what is built upon it is used with them.
    """
    function = unwrap(view)
    if not hasattr(function, "__globals__"):  # an object that can be called
        function = unwrap(type(function).__call__)
    names = list(getattr(function, "__globals__", {}).values())
    packages = {_package(value) for value in names}
    others = {name.partition(".")[0] for name in _FRAMEWORKS} - {"starlette", framework}
    return framework not in packages and not packages.isdisjoint(others)


def _package(value: object) -> str:
    """Return the top-level package that a name of a module comes from."""
    if isinstance(value, ModuleType):
        return value.__name__.partition(".")[0]
    owner = value if isinstance(value, (type, FunctionType)) else type(value)
    return str(owner.__module__).partition(".")[0]


def find(args: Args, kwargs: Kwargs) -> tuple[Integration, Any] | None:
    """Return the request of the view that is called with these arguments, and whose it is.

    A request among them knows best: it is this view's own, while the context may be that of an
    outer request whose view calls another app.
    """
    running = _running(len(sys.modules))
    for framework in running:
        request = framework.called(args, kwargs)
        if request is not None:
            return framework, request
    connection = plain.called(args, kwargs)
    if connection is None:
        for framework in running:
            request = framework.serving()
            if request is not None:
                return framework, request
        connection = current.get()
    return None if connection is None else of(connection)


def of(connection: Connection) -> tuple[Integration, Any]:
    """Return the request of a connection, and which framework serves it."""
    for framework in _running(len(sys.modules)):
        request = framework.of(connection)
        if request is not None:
            return framework, request
    return plain, connection
