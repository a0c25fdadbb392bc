"""The ASGI contenders: each wraps an app and lets a request with a known key through.

The app never suspends, so a request is one `coroutine.send`: an event loop would add its own time
to every contender alike, and its noise.
"""

from __future__ import annotations

from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any

from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request

from hit_known import MAX_LENGTH
from keymw import KeyKind, require_scopes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from starlette.requests import HTTPConnection

    from hit_known import Known

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}
_BODY = {"type": "http.response.body", "body": b"{}"}


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer at once."""
    await send(_START)
    await send(_BODY)


def app_with_view(*demand: str, project: str | None = None) -> App:
    """Return an app that hands a `Request` to a view, which demands what is given, if anything."""

    async def view(_request: Request) -> None:
        return None

    if demand:
        view = require_scopes(*demand, kinds=tuple(KeyKind), project=project)(view)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await view(Request(scope, receive, send))
        await send(_START)
        await send(_BODY)

    return serve


class PassThrough:
    """Adds nothing but its own call: what every contender is measured against."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self.app(scope, receive, send)


class Floor:
    """Scan, sha256, dict: no less can tell whose key it is. It takes what it should refuse."""

    def __init__(self, app: App, known: Known) -> None:
        self.app = app
        self.known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        for name, value in scope["headers"]:
            if name == b"authorization":
                if sha256(value[7:]).digest() in self.known:
                    await self.app(scope, receive, send)
                    return
                break
        await _refuse(send, 401)


class HandWritten:
    """What a careful team writes for itself: keymw's duties on a hit, without keymw."""

    def __init__(self, app: App, known: Known) -> None:
        self.app = app
        self.known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        value = None
        for name, content in scope["headers"]:
            if len(name) == 13 and name.lower() == b"authorization":
                if value is not None:
                    await _refuse(send, 400)
                    return
                value = content
        if value is None or len(value) > MAX_LENGTH or value[:7].lower() != b"bearer ":
            await _refuse(send, 401)
            return
        user = self.known.get(sha256(value[7:]).digest())
        if user is None or monotonic() >= user.deadline:
            await _refuse(send, 401)
            return

        def respond(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"vary", b"Authorization")]
                message = {**message, "headers": headers}
            return send(message)

        scope = {**scope, "user": user, "auth": user.scopes}
        await self.app(scope, receive, respond)


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class DictBackend(AuthenticationBackend):
    """The backend of Starlette's documentation, on a dict: no duplicates, no length, no `Vary`."""

    def __init__(self, known: Known) -> None:
        self.known = known

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Return who it is."""
        value = conn.headers.get("Authorization")
        if value is None:
            return None
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer":
            return None
        user = self.known.get(sha256(token.encode()).digest())
        if user is None:
            raise AuthenticationError("The API key is invalid.")
        return AuthCredentials(user.scopes), SimpleUser(user.display_name)


def starlette_middleware(app: App, known: Known) -> App:
    """Return Starlette's own middleware around the app."""
    return AuthenticationMiddleware(app, backend=DictBackend(known))


def make_request(headers: list[tuple[bytes, bytes]]) -> Scope:
    """Return a scope as uvicorn makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/api/projects/2/endpoints/daily/run",
        "raw_path": b"/api/projects/2/endpoints/daily/run",
        "query_string": b"",
        "headers": headers,
        "state": {},
        "path_params": {"project_id": "2", "name": "daily"},
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _discard(_message: Message) -> None:
    pass


def drive(app: App, scope: Scope, times: int) -> None:
    """Serve the request `times` times, each on a scope of its own, as a server does."""
    for _ in range(times):
        request = app(dict(scope), _receive, _discard)
        try:
            request.send(None)  # type: ignore[attr-defined]
        except StopIteration:
            continue
        raise RuntimeError("the app has suspended")


async def ask(wrap: Callable[[App], App], scope: Scope) -> tuple[int, str, str]:
    """Return status, `Vary`, and whom the app saw, for one request."""
    seen: list[str] = []
    sent: list[Message] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        seen.append("" if user is None else str(user.display_name))
        await app(scope, receive, send)

    async def record(message: Message) -> None:
        sent.append(message)

    await wrap(look)(dict(scope), _receive, record)
    vary = dict(sent[0]["headers"]).get(b"vary", b"").decode()
    return sent[0]["status"], vary, "".join(seen)
