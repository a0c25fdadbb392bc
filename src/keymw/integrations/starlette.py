"""Starlette: a refusal is an `HTTPException`, so the app's own handlers may restyle it.

Where an app has no handler of its own, keymw's answer is given in place of the framework's default
one. It is given from inside the app, so what its middleware (CORS) adds to answers is there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.access import SCOPED
from keymw.errors import AccessDenied
from keymw.integrations.extra import extra

with extra("starlette", "starlette"):
    from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
    from starlette.exceptions import HTTPException, WebSocketException
    from starlette.middleware.exceptions import ExceptionMiddleware
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from keymw.access import Access
    from keymw.http import Answer
    from keymw.model import Denied

    Scope = MutableMapping[str, Any]

_POLICY_VIOLATION = 1008

SCOPED.update((Request, WebSocket))

#: Handlers that an app has without having registered any.
DEFAULTS: list[Any] = [ExceptionMiddleware.http_exception]


class Refusal(HTTPException, AccessDenied):
    """A refusal with `status_code`, `detail` and `headers`, as Starlette's exceptions are."""

    answer: Answer


class SocketRefusal(WebSocketException, AccessDenied):
    """A refusal of a WebSocket that can only be closed."""


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:
    """Return the scope of the request or WebSocket that a view is called with, or is made for."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, HTTPConnection):
            return value.scope
    if args and isinstance(args[0], (HTTPEndpoint, WebSocketEndpoint)):
        return args[0].scope
    return None


def serving() -> None:
    """Return nothing: Starlette keeps no request in the context."""


def of(connection: Scope) -> Scope | None:
    """Return the scope if one of Starlette's apps, or FastAPI's, serves it."""
    return connection if "starlette.exception_handlers" in connection else None


def connection(request: Scope) -> Scope:
    """Return the scope."""
    return request


def parameter(request: Scope, name: str) -> object:
    """Return what the router has found in the path."""
    return request.get("path_params", {}).get(name)


def refuse(request: Scope, access: Access, denied: Denied) -> AccessDenied:
    """Return the exception that the app's own would be, for the app's handlers to answer."""
    return refusal(Refusal, request, access, denied)


def refusal(kind: type[Any], scope: Scope, access: Access, denied: Denied) -> AccessDenied:
    """Return a refusal of this kind, `Refusal` or FastAPI's."""
    answer = access.answer(denied)
    if "starlette.exception_handlers" not in scope:
        return AccessDenied.of(denied, answer.detail)
    if access.closes(scope):
        return SocketRefusal.of(denied, _POLICY_VIOLATION, answer.detail)
    _answer_by_default(scope, kind)
    headers = {name: value for name, value in answer.headers if not name.startswith("content-")}
    error: Refusal = kind.of(denied, answer.status, answer.detail, headers)
    error.answer = answer
    return error


def _answer_by_default(scope: Scope, kind: type[Any]) -> None:
    """Have keymw's refusals answered by `_respond`, if else the framework's default would."""
    handlers, _ = scope["starlette.exception_handlers"]
    found = next((handlers[base] for base in kind.__mro__ if base in handlers), None)
    if getattr(found, "__func__", found) in DEFAULTS:
        handlers[kind] = _respond


async def _respond(connection: HTTPConnection, error: Any) -> Response:
    answer: Answer = error.answer
    body = b"" if connection.scope.get("method") == "HEAD" else answer.body
    return Response(body, answer.status, dict(answer.headers))
