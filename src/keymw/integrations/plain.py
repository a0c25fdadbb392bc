"""Plain ASGI and WSGI callables, and what runs within a request of no framework known here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from keymw.errors import AccessDenied

if TYPE_CHECKING:
    from keymw.access import Access, Connection
    from keymw.model import Denied

#: How many arguments, at the end, servers call an app with.
_ASGI, _WSGI = 3, 2


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Connection | None:  # noqa: ARG001
    """Return the scope or the environ that an app has been called with."""
    if len(args) >= _ASGI and isinstance(args[-_ASGI], dict) and "headers" in args[-_ASGI]:
        return cast("Connection", args[-_ASGI])
    if len(args) >= _WSGI and isinstance(args[-_WSGI], dict) and "REQUEST_METHOD" in args[-_WSGI]:
        return cast("Connection", args[-_WSGI])
    return None


def is_lifespan(args: tuple[Any, ...]) -> bool:
    """Say whether a server has called an ASGI app for its lifespan, which is no request.

    `receive` and `send` are what nobody but a server, or an app that mounts it, can hand over.
    """
    return (
        len(args) == _ASGI
        and isinstance(args[0], dict)
        and args[0].get("type") == "lifespan"
        and callable(args[1])
        and callable(args[2])
    )


def serving() -> None:
    """Return nothing: without a framework there is the face's context alone."""


def of(connection: Connection) -> Connection:
    """Return the connection, whoever serves it."""
    return connection


def connection(request: Connection) -> Connection:
    """Return the connection."""
    return request


def parameter(request: Connection, name: str) -> object:
    """Return a parameter of the path, where routers without a convention of their own leave it.

    `path_params` of an ASGI scope is Starlette's way, `wsgiorg.routing_args` of a WSGI environ the
    WSGI community's (https://wsgi.readthedocs.io/en/latest/specifications/routing_args.html).
    """
    if "REQUEST_METHOD" in request:
        arguments: tuple[Any, dict[str, object]] = request.get("wsgiorg.routing_args") or ((), {})
        return arguments[1].get(name)
    return (request.get("path_params") or {}).get(name)


def refuse(request: Connection, access: Access, denied: Denied) -> AccessDenied:  # noqa: ARG001
    """Return what the middleware, through which the app was called, answers."""
    return AccessDenied.of(denied, denied.detail)
