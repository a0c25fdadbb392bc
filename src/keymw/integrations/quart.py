"""Quart: its request or WebSocket is in its context, and a refusal is what it is in Flask.

A WebSocket is refused before it is accepted: with the whole answer, or the app's own, where the
server can send one; else, and where it has been accepted, it is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from keymw.access import KEY, current
from keymw.integrations import flask
from keymw.integrations.extra import extra
from keymw.integrations.flask import (
    ForbiddenRefusal,
    Refusal,
    UnauthorizedRefusal,
    init_app,
)

with extra("quart", "quart"):
    from quart import has_request_context, has_websocket_context, request, websocket

if TYPE_CHECKING:
    from quart.wrappers.base import BaseRequestWebsocket

    from keymw.access import Access, Connection
    from keymw.model import Denied

__all__ = ["ForbiddenRefusal", "Refusal", "UnauthorizedRefusal", "init_app"]


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Return nothing: Quart calls its views with the parameters of the path alone."""


def serving() -> BaseRequestWebsocket | None:
    """Return the request or the WebSocket that Quart serves in this context."""
    found = [_current(request)] if has_request_context() else []
    if has_websocket_context():
        found.append(_current(websocket))
    if len(found) > 1:
        # One has been made from within the other. No middleware has seen the inner one, or it is
        # the one that the middleware serves.
        found.sort(key=lambda one: (KEY in one.scope, connection(one) is not current.get()))
    return found[0] if found else None


def of(connection: Connection) -> None:
    """Return nothing: Quart leaves no trace of itself in a scope."""


def connection(request: BaseRequestWebsocket) -> Connection:
    """Return the scope."""
    return cast("Connection", request.scope)


def parameter(request: BaseRequestWebsocket, name: str) -> object:
    """Return what Quart's router has found in the path."""
    return (request.view_args or {}).get(name)


def refuse(request: BaseRequestWebsocket, access: Access, denied: Denied) -> Refusal:
    """Return a refusal with Werkzeug's class for its status, as `abort` raises it."""
    if request.scope["type"] == "websocket":
        access.denied = denied
    return flask.refuse(request, access, denied)


def _current(proxy: Any) -> BaseRequestWebsocket:
    return cast("BaseRequestWebsocket", proxy._get_current_object())  # noqa: SLF001
