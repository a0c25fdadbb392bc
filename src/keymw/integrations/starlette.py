"""Starlette: a refusal is an `HTTPException`, so the app's own handlers may restyle it.

Where an app has no handler of its own, keymw's answer is given in place of the framework's default
one. It is given from inside the app, so what its middleware (CORS) adds to answers is there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response

from keymw.errors import AccessDenied

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.requests import HTTPConnection

    from keymw.http import Answer
    from keymw.model import Denied

_POLICY_VIOLATION = 1008

#: Handlers that an app has without having registered any.
DEFAULTS: list[Any] = [ExceptionMiddleware.http_exception]


class Refusal(HTTPException, AccessDenied):
    """A refusal with `status_code`, `detail` and `headers`, as Starlette's exceptions are."""

    answer: Answer


class SocketRefusal(WebSocketException, AccessDenied):
    """A refusal of a WebSocket that can only be closed."""


def closing_refusal(denied: Denied, answer: Answer) -> SocketRefusal:
    """Return what closes a WebSocket."""
    return SocketRefusal.of(denied, _POLICY_VIOLATION, answer.detail)


def refusal(
    kind: type[Any], scope: MutableMapping[str, Any], denied: Denied, answer: Answer
) -> AccessDenied:
    """Return a refusal of this kind, `Refusal` or FastAPI's, that the app will answer."""
    _answer_by_default(scope, kind)
    headers = {name: value for name, value in answer.headers if not name.startswith("content-")}
    error: Refusal = kind.of(denied, answer.status, answer.detail, headers)
    error.answer = answer
    return error


def _answer_by_default(scope: MutableMapping[str, Any], kind: type[Any]) -> None:
    """Have keymw's refusals answered by `_respond`, if else the framework's default would."""
    handlers, _ = scope["starlette.exception_handlers"]
    found = next((handlers[base] for base in kind.__mro__ if base in handlers), None)
    if getattr(found, "__func__", found) in DEFAULTS:
        handlers[kind] = _respond


async def _respond(connection: HTTPConnection, error: Any) -> Response:
    answer: Answer = error.answer
    body = b"" if connection.scope.get("method") == "HEAD" else answer.body
    return Response(body, answer.status, dict(answer.headers))
