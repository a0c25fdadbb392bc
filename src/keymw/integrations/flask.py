"""Flask: its request is in its context, and a refusal is one of Werkzeug's `HTTPException`s.

An app's own error handlers, for the status or for Werkzeug's class of it, may restyle it; the
default is to answer what the exception carries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from keymw.access import current_principal
from keymw.errors import AccessDenied
from keymw.integrations.extra import extra

with extra("flask", "flask"):
    from flask import has_request_context, request
    from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized
    from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from flask import Request
    from flask.sansio.app import App

    from keymw.access import Access, Connection
    from keymw.http import Answer
    from keymw.model import Denied


class Refusal(HTTPException, AccessDenied):
    """A refusal with `code`, `name` and `description`, as Werkzeug's exceptions are."""

    answer: Answer

    def get_response(self, *_: Any, **__: Any) -> Response:
        """Return keymw's answer, to be changed by whoever handles the exception."""
        return Response(self.answer.body, self.answer.status, list(self.answer.headers))


class UnauthorizedRefusal(Refusal, Unauthorized):
    """A refusal with status 401."""


class ForbiddenRefusal(Refusal, Forbidden):
    """A refusal with status 403."""


_KINDS: dict[int, type[Refusal]] = {
    kind.code: kind for kind in (UnauthorizedRefusal, ForbiddenRefusal)
}


def init_app(app: App) -> None:
    """Give `flask.g` a `principal`, which is `current_principal()`; for Quart's `g` as well.

    It is asked for anew each time: an app context, and so `g`, may outlive a request, or be shared
    by a request and another one that its view makes.
    """
    inner = app.app_ctx_globals_class
    names = {"principal": property(lambda _: current_principal())}
    app.app_ctx_globals_class = type(inner.__name__, (inner,), names)  # type: ignore[assignment]


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Return nothing: Flask calls its views with the parameters of the path alone."""


def serving() -> Request | None:
    """Return the request that Flask serves in this context."""
    return _current() if has_request_context() else None


def of(connection: Connection) -> Request | None:
    """Return the request that Flask has made of an environ."""
    found = connection.get("werkzeug.request")
    return cast("Request", found) if hasattr(found, "view_args") else None


def connection(request: Request) -> Connection:
    """Return the environ."""
    return request.environ


def parameter(request: Request, name: str) -> object:
    """Return what Flask's router has found in the path."""
    return (request.view_args or {}).get(name)


def refuse(request: Any, access: Access, denied: Denied) -> Refusal:  # noqa: ARG001
    """Return a refusal with Werkzeug's class for its status, as `abort` raises it."""
    answer = access.answer(denied)
    error = _KINDS[answer.status].of(denied, answer.detail)
    error.answer = answer
    return error


def _current() -> Request:
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001
