"""Finds the connection that a view serves: its ASGI scope or its WSGI environ.

Nothing that a client can send is ever taken for one: only what a server or a framework hands over
in the place, or as an object of the class, that is its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from keymw.access import current

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    Connection = MutableMapping[str, Any]

#: How many arguments, at the end, servers call an app with.
_ASGI, _WSGI = 3, 2


def find_connection(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Connection | None:
    """Return the connection of the view that is called with these arguments, if there is one.

    A connection among them knows best: it is this view's own, while the context may be that of an
    outer request whose view calls another app.
    """
    return _called_with(args, kwargs) or _of_flask() or current.get()


def _called_with(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Connection | None:
    starlette = sys.modules.get("starlette.requests")
    if starlette is not None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, starlette.HTTPConnection):
                scope: Connection = value.scope
                return scope
        if args and _is_endpoint(args[0]):
            own: Connection = args[0].scope
            return own
    if len(args) >= _ASGI and isinstance(args[-_ASGI], dict) and "headers" in args[-_ASGI]:
        return cast("Connection", args[-_ASGI])
    if len(args) >= _WSGI and isinstance(args[-_WSGI], dict) and "REQUEST_METHOD" in args[-_WSGI]:
        return cast("Connection", args[-_WSGI])
    return None


def _is_endpoint(value: object) -> bool:
    """Say whether this is one of Starlette's class-based views, made for one connection."""
    endpoints = sys.modules.get("starlette.endpoints")
    return endpoints is not None and isinstance(
        value, (endpoints.HTTPEndpoint, endpoints.WebSocketEndpoint)
    )


def _of_flask() -> Connection | None:
    """Return the environ of the request that Flask serves in this context."""
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_request_context():
        return None
    environ: Connection = flask.request.environ
    return environ
