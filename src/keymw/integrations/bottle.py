"""Bottle: a refusal is one of its `HTTPResponse`s, and an `HTTPError` where the app has a handler.

`Bottle.error(401)` and `Bottle.error(403)` restyle refusals. Where an app has none, keymw's answer
is given in place of Bottle's error page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.access import KEY, current
from keymw.errors import AccessDenied
from keymw.integrations.extra import extra

with extra("bottle", "bottle"):
    from bottle import Bottle, HTTPError, HTTPResponse, request

if TYPE_CHECKING:
    from keymw.access import Access, Connection
    from keymw.http import Answer
    from keymw.model import Denied

#: Where Bottle leaves the app, and what its router has found in the path.
_APP = "bottle.app"
_PARAMETERS = "route.url_args"


class Refusal(HTTPResponse, AccessDenied):
    """A refusal, which Bottle answers as it is."""

    answer: Answer


class HandledRefusal(Refusal, HTTPError):  # noqa: N818 - as in the other frameworks
    """A refusal for the app's error handler, with the reason as its `body`."""


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Return nothing: Bottle calls its views with the parameters of the path alone."""


def serving() -> Connection | None:
    """Return the environ that Bottle serves in this thread, if it is not the middleware's own.

    Bottle's request stays with its thread when it has been answered. It is believed only where it
    is surely not an old one.
    """
    served = current.get()
    environ = _bound()
    if served is None or environ is served or _APP not in environ:
        return None
    if _APP in served:
        # A Bottle app within another one. No middleware has seen it, or it has its own context.
        return None if KEY in environ else environ
    # A copy, which something between the middleware and the app has made.
    is_copy = all(environ.get(name) is served.get(name) for name in (KEY, "wsgi.input"))
    return environ if is_copy else None


def of(connection: Connection) -> Connection | None:
    """Return the environ if a Bottle app serves it."""
    return connection if _APP in connection else None


def connection(request: Connection) -> Connection:
    """Return the environ."""
    return request


def parameter(request: Connection, name: str) -> object:
    """Return what Bottle's router has found in the path, as the view is given it."""
    return request.get(_PARAMETERS, {}).get(name)


def refuse(request: Connection, access: Access, denied: Denied) -> Refusal:
    """Return what Bottle answers, or has the app's error handler answer."""
    answer = access.answer(denied)
    if _has_handler(request[_APP], answer.status):
        error: Refusal = HandledRefusal.of(denied, answer.status, answer.detail)
        for name, value in answer.headers:
            if not name.startswith("content-"):
                error.set_header(name, value)
    else:
        error = Refusal.of(denied, answer.body, answer.status, list(answer.headers))
    error.answer = answer
    return error


def _bound() -> Connection:
    """Return the environ that Bottle has last served in this thread, or none."""
    try:
        environ: Connection = request.environ
    except RuntimeError:  # Bottle has not been called in this thread
        return {}
    return environ


def _has_handler(app: Any, status: int) -> bool:
    """Say whether an app answers errors of this status in a way of its own."""
    default = getattr(app.default_error_handler, "__func__", None)
    return status in app.error_handler or default is not Bottle.default_error_handler
