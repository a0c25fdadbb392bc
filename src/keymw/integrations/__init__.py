"""One small module a framework: how a refusal is said in the framework's own words.

None is imported before its framework serves a request or, for FastAPI, has a view decorated.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from keymw.errors import AccessDenied

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from keymw.http import Answer
    from keymw.model import Denied


def asgi_refusal(
    scope: MutableMapping[str, Any], denied: Denied, answer: Answer, *, closes: bool
) -> AccessDenied:
    """Return what a view raises; `closes` says that a WebSocket can only be closed any more."""
    if "starlette.exception_handlers" not in scope:
        return AccessDenied.of(denied, denied.detail)
    from keymw.integrations import starlette  # noqa: PLC0415 - Starlette is running

    if closes:
        return starlette.closing_refusal(denied, answer)
    fastapi = sys.modules.get("fastapi")
    if fastapi is None or not isinstance(scope.get("app"), fastapi.FastAPI):
        return starlette.refusal(starlette.Refusal, scope, denied, answer)
    from keymw.integrations import fastapi as ours  # noqa: PLC0415 - FastAPI is running

    # A handler may be registered for FastAPI's own exception alone.
    return starlette.refusal(ours.Refusal, scope, denied, answer)


def wsgi_refusal(environ: MutableMapping[str, Any], denied: Denied, answer: Answer) -> AccessDenied:
    """Return what a view raises."""
    if "werkzeug.request" not in environ:
        return AccessDenied.of(denied, denied.detail)
    from keymw.integrations import werkzeug  # noqa: PLC0415 - Werkzeug is running

    return werkzeug.refusal(denied, answer)
