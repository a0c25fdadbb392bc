"""Starlette and FastAPI: a refusal is an `HTTPException`, so the app's own handlers may restyle it.

Where the app has no handler of its own, the framework's default would answer in a form of its own;
then the middleware answers instead, in keymw's form.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException, WebSocketException

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from keymw.access import Access
    from keymw.http import Answer
    from keymw.model import Denied

_POLICY_VIOLATION = 1008
#: Where the handlers live that an app has without having registered any.
_DEFAULTS = frozenset({"starlette.middleware.exceptions", "fastapi.exception_handlers"})


def refusal(
    access: Access, scope: MutableMapping[str, Any], denied: Denied, answer: Answer
) -> Exception:
    """Return the exception by which a view refuses."""
    denial = "websocket.http.response" in (scope.get("extensions") or {})
    if scope["type"] == "websocket" and not denial:
        return WebSocketException(_POLICY_VIOLATION, answer.detail)
    headers = {name: value for name, value in answer.headers if not name.startswith("content-")}
    error = _exception_class(scope)(answer.status, detail=answer.detail, headers=headers)
    if not _is_restyled(scope, error):
        access.refused = denied
    return error


def _exception_class(scope: MutableMapping[str, Any]) -> type[HTTPException]:
    """Return FastAPI's exception in a FastAPI app: a handler may be registered for it alone."""
    fastapi = sys.modules.get("fastapi")
    if fastapi is not None and isinstance(scope.get("app"), fastapi.FastAPI):
        found: type[HTTPException] = fastapi.HTTPException
        return found
    return HTTPException


def _is_restyled(scope: MutableMapping[str, Any], error: HTTPException) -> bool:
    handlers, status_handlers = scope["starlette.exception_handlers"]
    if error.status_code in status_handlers:
        return True
    for kind in type(error).__mro__:
        if kind in handlers:
            return getattr(handlers[kind], "__module__", None) not in _DEFAULTS
    return False
