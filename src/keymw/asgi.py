"""The ASGI face: around any ASGI app, for HTTP and WebSocket. It imports no framework.

What is answered stands in `http.py`; here it becomes ASGI messages (ASGI 3.0, HTTP & WebSocket
message format 2.5, WebSocket Denial Response extension).
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from keymw.access import ANONYMOUS, KEY, NO_CREDENTIALS, Access, current
from keymw.errors import AccessDenied, KeymwError
from keymw.http import DEFERRED, MALFORMED, MISSING, answer, check_realm, vary_on_authorization
from keymw.model import Denied, Granted
from keymw.twice import known

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from keymw.aio import AsyncKeyService
    from keymw.http import Answer
    from keymw.model import Verdict
    from keymw.rules import Rule, Rules

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    #: Frameworks type these three in ways of their own.
    App = Callable[[Any, Any, Any], Awaitable[None]]

_VARY = (b"vary", b"Authorization")

#: What begins an answer, a WebSocket's denial too.
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})

#: RFC 6455 §7.4.1: policy violation.
_CLOSE: Message = {"type": "websocket.close", "code": 1008}


class KeyAuthMiddleware:
    """Tells who a request is before the app sees it.

    On a request with a good key, `scope["user"]` is its principal and `scope["auth"]` has its
    `scopes`. With none, the principal is anonymous, unless something outside set a user already.
    A bad key is refused on every route; what a route demands, `require_scopes` says.

    Args:
        app: any ASGI app.
        keys: an `AsyncKeyService`; it is started and closed with the app's lifespan.
        realm: protection space named in challenges.
        required: refuse requests without a good key before the app sees them.
        rules: what requests demand by method and path, of an app whose routes one cannot decorate:
            `Rules`, or a list of `Rule`, which refuses what none of them is for. They are checked
            before the app sees the request; decorators in it hold as well.
        strip_credentials: hide a good key's `Authorization` from the app.

    Raises:
        TypeError: `keys` is not an `AsyncKeyService`.
        ValueError: the realm cannot stand in a header, or a rule can never be reached, overlaps
            with another one, or has a scope that the service's catalog has not.

    When the app starts, its routes are checked: with one that demands what cannot be met, the
    lifespan's start fails, and where no lifespan arrives, no request is served, each raising
    `UnmeetableDemand`.
    """

    #: Who a request with no credentials is; tests of apps may set it (`keymw.testing`).
    without_key: ClassVar[Verdict] = MISSING

    def __init__(
        self,
        app: App,
        keys: AsyncKeyService,
        *,
        realm: str = "keymw",
        required: bool = False,
        rules: Rules | Iterable[Rule] = (),
        strip_credentials: bool = False,
    ) -> None:
        if not inspect.iscoroutinefunction(getattr(keys, "authenticate", None)):
            raise TypeError("keymw.asgi.KeyAuthMiddleware takes an AsyncKeyService as `keys`.")
        self.app = app
        self._keys = keys
        self._realm = check_realm(realm)
        self._required = required
        self._guarded = app
        if rules != ():
            from keymw.rules.guards import guard_asgi  # noqa: PLC0415 - who has none pays nothing

            self._guarded = guard_asgi(app, rules, keys)
        #: What serves requests; it is the app once its routes have been checked.
        self._serve: App = self._serve_first
        self._strip = strip_credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            serve = self._lifespan if scope["type"] == "lifespan" else self.app
            await serve(scope, receive, send)
            return
        value: bytes | None = None
        for name, content in scope["headers"]:
            if len(name) == 13 and name.lower() == b"authorization":  # noqa: PLR2004
                if value is not None:
                    await self._refuse(scope, receive, send, MALFORMED)
                    return
                value = content
        verdict = (KEY in scope and known(scope, value, self)) or (
            self.without_key if value is None else self._keys.peek(value)
        )
        if verdict.__class__ is not Granted:
            verdict = verdict or await self._keys.authenticate(value)
            if isinstance(verdict, Denied) and (self._required or verdict.reason not in DEFERRED):
                await self._refuse(scope, receive, send, verdict)
                return
        scope = self._identified(scope, verdict)
        begun: list[Message] = []
        respond = _responding(scope, send, begun)
        token = current.set(scope)
        try:
            await self._serve(scope, receive, respond)
        except AccessDenied as error:
            if begun:
                raise
            for message in self._messages(scope, error.denied):
                await send(message)
        finally:
            current.reset(token)

    async def _serve_first(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request to an app that no lifespan has started."""
        self._check(scope)
        await self._guarded(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Serve the app from now on, if its routes demand nothing that cannot be met."""
        from keymw.routes import check  # noqa: PLC0415 - for lightness

        check(self.app, self._keys.catalog, scope.get("path_params") or ())
        if (fastapi := sys.modules.get("keymw.integrations.fastapi")) is not None:
            for app in (scope.get("app"), self.app):
                fastapi.document_all(app)
        self._serve = self._guarded

    def _identified(self, scope: Scope, verdict: Verdict) -> Scope:
        """Return a copy of the scope that says who the request is."""
        scope = dict(scope)
        if isinstance(verdict, Granted):
            scope["user"] = verdict.principal
            scope["auth"] = verdict.credentials
            if self._strip:
                scope["headers"] = [
                    field for field in scope["headers"] if field[0].lower() != b"authorization"
                ]
            access = verdict.access
            # A socket has a state of its own; all other requests with a key share one.
            if access is None or access.face is not self or scope["type"] != "http":
                access = _Request(verdict, self)
                if scope["type"] == "http":
                    verdict.keep(access)
            scope[KEY] = access
        else:
            if "user" not in scope:
                scope["user"] = ANONYMOUS
                scope.setdefault("auth", NO_CREDENTIALS)
            scope[KEY] = _Request(verdict, self)
        return scope

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, denied: Denied) -> None:
        """Answer in place of the app."""
        if scope["type"] == "websocket":
            await receive()  # "websocket.connect": only then may it be answered
        for message in self._messages(scope, denied):
            await send(message)

    def _messages(self, scope: Scope, denied: Denied) -> list[Message]:
        """Return the messages by which a refusal is sent before any answer has begun."""
        if scope[KEY].closes(scope) if KEY in scope else _can_only_close(scope):
            return [_CLOSE]
        refusal = self.answer(denied)
        prefix = "websocket." if scope["type"] == "websocket" else ""
        body = b"" if scope.get("method") == "HEAD" else refusal.body
        headers = [(name.encode(), value.encode()) for name, value in refusal.headers]
        return [
            {"type": f"{prefix}http.response.start", "status": refusal.status, "headers": headers},
            {"type": f"{prefix}http.response.body", "body": body},
        ]

    async def close(self, scope: Scope, send: Send) -> None:
        """Refuse a WebSocket that its framework, which knows no better answer, closes."""
        denied, scope[KEY].denied = scope[KEY].denied, None
        for message in self._messages(scope, denied):
            await send(message)

    def answer(self, denied: Denied) -> Answer:
        """Return what is answered to a refusal."""
        return answer(denied, self._realm, self._keys.settings.retry_after)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start the service when the app has started, which may be what migrates it.

        What keeps it from starting is said to the server, which takes an exception alone for an
        app without lifespan; what the app says of that exception is then not news.
        """
        failed = False

        async def respond(message: Message) -> None:
            nonlocal failed
            if failed:
                return
            if message["type"] == "lifespan.startup.complete":
                try:
                    self._check(scope)
                    await self._keys.start()
                except KeymwError as error:
                    failed = True
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
            elif message["type"].startswith("lifespan.shutdown."):
                await self._keys.aclose()
            await send(message)

        await self.app(scope, receive, respond)


class _Request(Access):
    """Who a connection is. Requests with the same key share one; a WebSocket has its own."""

    __slots__ = ("accepted", "face")

    def __init__(self, verdict: Verdict, face: KeyAuthMiddleware) -> None:
        self.verdict = verdict
        self.face = face
        #: Whether a WebSocket has been accepted, so that it can only be closed.
        self.accepted = False
        self.denied = None

    def answer(self, denied: Denied) -> Answer:
        """Return what is answered to a refusal."""
        return self.face.answer(denied)

    def closes(self, connection: Scope) -> bool:
        """Say whether a refusal can only close the connection, a WebSocket."""
        return self.accepted or _can_only_close(connection)


def _responding(scope: Scope, send: Send, begun: list[Message]) -> Send:
    """Return the `send` that the app is given. What begins an answer is put into `begun`.

    It is plain and passes on what `send` returns, because most messages need no more than that.
    """

    def respond(message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.body":
            return send(message) if message.get("more_body") else _end(scope, send, message)
        if kind in _STARTS:
            message = _varying(message)
            begun.append(message)
        elif kind == "websocket.accept":
            scope[KEY].accepted, scope[KEY].denied = True, None
        elif kind == "websocket.close" and scope[KEY].denied is not None:
            closing: Awaitable[None] = scope[KEY].face.close(scope, send)
            return closing
        return send(message)

    return respond


async def _end(scope: Scope, send: Send, message: Message) -> None:
    """Send the end of an answer, within which servers start the next request of a connection.

    As a task, which copies the context: this request's must not be in it.
    """
    current.set(None)
    try:
        await send(message)
    finally:
        current.set(scope)


def _can_only_close(scope: Scope) -> bool:
    """Say whether this is a WebSocket whose server offers no denial by an HTTP answer."""
    extensions = scope.get("extensions") or {}
    return scope["type"] == "websocket" and "websocket.http.response" not in extensions


def _varying(message: Message) -> Message:
    """Return the start of an answer with `Authorization` in `Vary`."""
    headers = list(message.get("headers", ()))
    for index, (name, value) in enumerate(headers):
        if len(name) == 4 and name.lower() == b"vary":  # noqa: PLR2004
            varied = vary_on_authorization(value.decode("latin-1")).encode("latin-1")
            headers[index] = (name, varied)
            break
    else:
        headers.append(_VARY)
    message = dict(message)
    message["headers"] = headers
    return message
