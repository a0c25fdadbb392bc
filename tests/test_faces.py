"""Both faces, called as a server calls them: hand-made scopes and environs, no framework."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import string
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from wsgiref.validate import validator

import pytest

from keymw import (
    AnonymousPrincipal,
    AsyncKeyService,
    KeyService,
    ServicePrincipal,
    Settings,
    StoreUnavailable,
    UserPrincipal,
    current_principal,
    require_scopes,
)
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face
from keymw.tokens import BODY_LENGTH, checksum, generate

PROJECT = "project_secret"
PERSONAL = "personal"


# ---- one app, written for both faces ----------------------------------------------------------


@require_scopes("endpoint:read")
def humans():
    return "humans"


@require_scopes("endpoint:read", kinds=[PROJECT])
def machines():
    return "machines"


@require_scopes("endpoint:read", kinds=[PROJECT, PERSONAL])
def both():
    return "both"


@require_scopes("endpoint:write", "batch:read", kinds=[PROJECT, PERSONAL])
def writers():
    return "writers"


@require_scopes(kinds=[PROJECT, PERSONAL], project="project_id")
def members():
    return "members"


VIEWS = {
    "/open": lambda: "open",
    "/humans": humans,
    "/machines": machines,
    "/both": both,
    "/writers": writers,
    "/members": members,
}


@dataclass
class Seen:
    """What the app was given."""

    called: int = 0
    viewed: int = 0
    principal: object = None
    connection: object = None

    def view(self, path, connection):
        self.called += 1
        self.connection = connection
        self.principal = current_principal()
        text = VIEWS[path]()
        self.viewed += 1
        return text.encode()


@dataclass
class Reply:
    """What a client would get."""

    status: int | None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    #: Close code, where a WebSocket is refused without an HTTP answer.
    close: int | None = None

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name):
        (value,) = self.all(name)
        return value


class AsgiHttp:
    """Drives the ASGI face over HTTP."""

    name = "asgi"
    type = "http"
    extensions = None

    def __init__(self, url, runner):
        self.keys = AsyncKeyService(url)
        self.runner = runner

    def scope(self, headers, path, method):
        return {
            "type": self.type,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": headers,
        }

    def app(self, seen, headers):
        async def app(scope, receive, send):
            body = seen.view(scope["path"], scope)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return app

    def ask(self, headers=(), path="/open", *, method="GET", seen=None, answer=(), **options):
        seen = Seen() if seen is None else seen
        app = self.app(seen, list(answer))
        face = asgi_face.KeyAuthMiddleware(app, self.keys, **options)
        return self.read(self.send(face, self.scope(list(headers), path, method)))

    def send(self, app, scope, incoming=({"type": "http.request", "body": b""},)):
        incoming, sent = list(incoming), []

        async def receive():
            return incoming.pop(0)

        async def send(message):
            sent.append(message)

        self.runner.run(app(scope, receive, send))
        return sent

    prefix = "http.response."

    def read(self, sent):
        start, *parts = sent
        assert start["type"] == f"{self.prefix}start"
        assert {part["type"] for part in parts} == {f"{self.prefix}body"}
        assert not parts[-1].get("more_body")
        for name, value in start["headers"]:
            assert isinstance(name, bytes)
            assert isinstance(value, bytes)
        headers = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
        return Reply(start["status"], headers, b"".join(part["body"] for part in parts))

    def close(self):
        self.runner.run(self.keys.aclose())

    def on_path(self, seen, path_params):
        """Return what the app leaves as a router would."""

        async def app(scope, receive, send):
            scope["path_params"] = path_params
            body = seen.view("/members", scope)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return app

    def ask_project(self, headers, seen, path_params):
        face = asgi_face.KeyAuthMiddleware(self.on_path(seen, path_params), self.keys)
        return self.read(self.send(face, self.scope(headers, "/members", "GET")))

    def outage(self):
        async def find(digest):
            raise StoreUnavailable("The database cannot answer: it is on fire.")

        async def prepare():
            self.keys._deps().store.find = find

        self.runner.run(prepare())


class AsgiWebSocket(AsgiHttp):
    """Drives the ASGI face over WebSocket, on a server without denial responses."""

    name = "websocket"
    type = "websocket"

    def scope(self, headers, path, method):
        scope = super().scope(headers, path, method) | {"scheme": "ws", "subprotocols": []}
        del scope["method"]
        return scope | ({} if self.extensions is None else {"extensions": self.extensions})

    def app(self, seen, headers):
        async def app(scope, receive, send):
            assert (await receive())["type"] == "websocket.connect"
            body = seen.view(scope["path"], scope)
            await send({"type": "websocket.accept", "headers": headers})
            await send({"type": "websocket.send", "bytes": body})

        return app

    def on_path(self, seen, path_params):
        async def app(scope, receive, send):
            scope["path_params"] = path_params
            await self.app(seen, [])(scope, receive, send)

        return app

    def send(self, app, scope, incoming=({"type": "websocket.connect"},)):
        return super().send(app, scope, incoming)

    def read(self, sent):
        if sent[0]["type"] == "websocket.accept":
            return Reply(200, [], sent[1]["bytes"])
        assert len(sent) == 1
        assert sent[0]["type"] == "websocket.close"
        return Reply(None, close=sent[0]["code"])


class AsgiDenial(AsgiWebSocket):
    """The same on a server that has `websocket.http.response`."""

    name = "websocket-denial"
    extensions = {"websocket.http.response": {}}  # noqa: RUF012
    prefix = "websocket.http.response."

    def read(self, sent):
        return super().read(sent) if "http" not in sent[0]["type"] else AsgiHttp.read(self, sent)


class Wsgi:
    """Drives the WSGI face, with wsgiref's validator on both sides of it."""

    name = "wsgi"

    def __init__(self, url, runner):
        self.keys = KeyService(url)

    def environ(self, headers, path, method):
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            # As servers do it: names folded, doubles joined, bytes in disguise (PEP 3333).
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
        return environ

    def app(self, seen, headers):
        def app(environ, start_response):
            body = seen.view(environ["PATH_INFO"], environ)
            start_response(
                "200 OK",
                [(name.decode(), value.decode()) for name, value in headers]
                + [("Content-Type", "text/plain")],
            )
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

        return app

    def ask(self, headers=(), path="/open", *, method="GET", seen=None, answer=(), **options):
        seen = Seen() if seen is None else seen
        face = wsgi_face.KeyAuthMiddleware(
            validator(self.app(seen, list(answer))), self.keys, **options
        )
        return self.send(face, self.environ(headers, path, method))

    def send(self, app, environ):
        answers = []

        def start_response(status, headers, exc_info=None):
            answers.append((status, headers))
            return lambda _: None

        body = validator(app)(environ, start_response)
        try:
            content = b"".join(body)
        finally:
            body.close()
        ((status, headers),) = answers
        return Reply(int(status[:3]), headers, content)

    def ask_project(self, headers, seen, path_params):
        from werkzeug.wrappers import Request, Response

        @Request.application
        def app(request):
            request.view_args = path_params  # as Flask's router does
            return Response(seen.view("/members", request.environ))

        face = wsgi_face.KeyAuthMiddleware(validator(app), self.keys)
        return self.send(face, self.environ(headers, "/members", "GET"))

    def close(self):
        self.keys.close()

    def outage(self):
        async def find(digest):
            raise StoreUnavailable("The database cannot answer: it is on fire.")

        self.keys._deps().store.find = find


FACES = {face.name: face for face in (AsgiHttp, AsgiWebSocket, AsgiDenial, Wsgi)}


@pytest.fixture
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=FACES)
def face(request, keys, sqlite_url, runner):
    """Each face in turn, with a service of its own on the database of `keys`."""
    face = FACES[request.param](sqlite_url, runner)
    yield face
    face.close()


@pytest.fixture
def asgi(keys, sqlite_url, runner):
    face = AsgiHttp(sqlite_url, runner)
    yield face
    face.close()


@pytest.fixture
def wsgi(keys, sqlite_url):
    face = Wsgi(sqlite_url, None)
    yield face
    face.close()


class Yesterday:
    """A clock of a day ago, to issue keys that have expired since."""

    def monotonic(self):
        return 0.0

    def now(self):
        return datetime.now(UTC) - timedelta(days=1)


class Stepped:
    """The real time of day, beside monotonic seconds that a test moves."""

    seconds = 1000.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return datetime.now(UTC)


def issue(keys, url, state):  # noqa: C901, PLR0911, PLR0912 - a table, in code
    """Return a token in a state, made now."""
    read = ["endpoint:read"]
    match state:
        case "project":
            return keys.issue_project_key("2", "machine", read).token
        case "personal":
            return keys.issue_personal_key("ann", "laptop", read).token
        case "write":
            scopes = ["endpoint:write", "batch:write"]
            return keys.issue_project_key("2", "writer", scopes).token
        case "half":
            return keys.issue_project_key("2", "half", ["endpoint:write"]).token
        case "star":
            return keys.issue_personal_key("ann", "everything", ["*"]).token
        case "empty":
            return keys.issue_personal_key("ann", "nothing", []).token
        case "revoked":
            issued = keys.issue_project_key("2", "machine", read)
            keys.revoke(issued.key.id)
            return issued.token
        case "rolled":
            issued = keys.issue_project_key("2", "machine", read)
            keys.roll(issued.key.id)
            return issued.token
        case "inactive":
            token = keys.issue_personal_key("ann", "laptop", read).token
            keys.deactivate_user("ann")
            return token
        case "expired":
            with KeyService(url) as early:
                early._clock = Yesterday()
                end = datetime.now(UTC) - timedelta(hours=1)
                return early.issue_project_key("2", "old", read, expires_at=end).token
        case "unknown":
            return generate("phs_")
        case "unknown-personal":
            return generate("pha_")
        case "checksum":
            token = keys.issue_project_key("2", "machine", read).token
            return token[:-1] + ("0" if token[-1] != "0" else "1")
        case "short":
            return keys.issue_project_key("2", "machine", read).token[:-1]
        case "foreign":
            return "eyJhbGciOiJub25lIn0.e30."
    raise AssertionError(state)


def bearer(token):
    return [(b"authorization", b"Bearer " + token.encode())]


@dataclass
class Case:
    """One row of DESIGN section 5."""

    state: str
    path: str
    status: int
    code: str
    detail: str
    #: What follows the realm in the challenge; None for no challenge at all.
    challenge: str = ""
    title: str = "Unauthorized"
    #: Whether the app is reached (its view never is).
    reaches: bool = False


ANONYMOUS_DETAIL = "Authentication credentials were not provided."
INVALID = ', error="invalid_token"'
NARROW = ', error="insufficient_scope"'
OUT = "Forbidden"
NO_PROJECT = "API key does not have access to the requested project."

CASES = [
    Case("none", "/both", 401, "not_authenticated", ANONYMOUS_DETAIL, reaches=True),
    Case("basic", "/both", 401, "not_authenticated", ANONYMOUS_DETAIL, reaches=True),
    Case("digest", "/both", 401, "not_authenticated", ANONYMOUS_DETAIL, reaches=True),
    Case(
        "foreign",
        "/both",
        401,
        "unrecognized_credentials",
        "The API key is invalid.",
        INVALID,
        reaches=True,
    ),
    *(
        Case(state, path, 401, code, detail, INVALID)
        for path in ("/open", "/both")
        for state, code, detail in (
            ("checksum", "invalid_key", "The API key is invalid."),
            ("short", "invalid_key", "The API key is invalid."),
            ("unknown", "invalid_key", "The API key is invalid."),
            ("unknown-personal", "invalid_key", "The API key is invalid."),
            ("expired", "expired_key", "The API key has expired."),
            ("revoked", "revoked_key", "The API key has been revoked."),
            ("rolled", "rolled_key", "The API key has been rolled: use its new secret."),
            (
                "inactive",
                "owner_inactive",
                "The API key is invalid: its owner is no longer active.",
            ),
        )
    ),
    *(
        Case(
            state,
            path,
            400,
            "malformed_credentials",
            "The Authorization header must be sent once, as: Bearer <API key>.",
            ', error="invalid_request"',
            "Bad Request",
        )
        for path in ("/open", "/both")
        for state in ("bare", "garbled")
    ),
    Case(
        "project",
        "/humans",
        403,
        "kind_not_supported",
        "This endpoint does not support project secret API keys.",
        NARROW,
        OUT,
        reaches=True,
    ),
    Case(
        "personal",
        "/machines",
        403,
        "kind_not_supported",
        "This endpoint does not support personal API keys.",
        NARROW,
        OUT,
        reaches=True,
    ),
    Case(
        "star",
        "/machines",
        403,
        "kind_not_supported",
        "This endpoint does not support personal API keys.",
        NARROW,
        OUT,
        reaches=True,
    ),
    Case(
        "project",
        "/writers",
        403,
        "scope_missing",
        "API key missing required scope 'endpoint:write'.",
        NARROW + ', scope="endpoint:write batch:read"',
        OUT,
        reaches=True,
    ),
    Case(
        "half",
        "/writers",
        403,
        "scope_missing",
        "API key missing required scope 'batch:read'.",
        NARROW + ', scope="endpoint:write batch:read"',
        OUT,
        reaches=True,
    ),
    Case(
        "empty",
        "/both",
        403,
        "scope_missing",
        "API key missing required scope 'endpoint:read'.",
        NARROW + ', scope="endpoint:read"',
        OUT,
        reaches=True,
    ),
    Case("project", "/members", 403, "wrong_project", NO_PROJECT, NARROW, OUT, reaches=True),
]


def credentials(keys, url, state):
    match state:
        case "none":
            return []
        case "basic":
            return [(b"authorization", b"Basic dXNlcjpwYXNzd29yZA==")]
        case "digest":
            return [(b"authorization", b'Digest username="x", realm="y"')]
        case "bare":
            return [(b"authorization", b"Bearer")]
        case "garbled":
            return [(b"authorization", b"Bearer phs_{}")]
    return bearer(issue(keys, url, state))


def check_refusal(face, reply, case, *, method="GET", realm="keymw"):
    """Check every part of a refusal."""
    if face.name == "websocket":
        assert reply == Reply(None, close=1008)
        return
    assert reply.status == case.status
    challenges = reply.all("www-authenticate")
    assert challenges == [f'Bearer realm="{realm}"{case.challenge}']
    assert reply.one("content-type") == "application/problem+json"
    assert reply.one("cache-control") == "no-store"
    assert reply.one("vary") == "Authorization"
    assert reply.all("retry-after") == []
    if method == "HEAD":
        assert reply.body == b""
        assert int(reply.one("content-length")) > 0
        return
    assert int(reply.one("content-length")) == len(reply.body)
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": case.title,
        "status": case.status,
        "detail": case.detail,
        "code": case.code,
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state}-{case.path[1:]}")
def test_the_table(face, keys, sqlite_url, case, caplog):
    headers = credentials(keys, sqlite_url, case.state)
    for _ in range(2):  # cold, then with what the caches have learnt
        seen = Seen()
        reply = face.ask(headers, case.path, seen=seen)
        check_refusal(face, reply, case)
        assert seen.called == (1 if case.reaches else 0)
        assert seen.viewed == 0
    assert [entry for entry in caplog.records if entry.levelno >= logging.ERROR] == []
    for _, value in headers:
        secret = value.partition(b" ")[2].decode()
        if secret:
            assert secret not in str(reply)
            assert secret not in caplog.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state}-{case.path[1:]}")
def test_a_refusal_of_head_has_no_body(request, keys, sqlite_url, case, runner):
    headers = credentials(keys, sqlite_url, case.state)
    for kind in (AsgiHttp, Wsgi):
        face = kind(sqlite_url, runner)
        seen = Seen()
        reply = face.ask(headers, case.path, method="HEAD", seen=seen)
        check_refusal(face, reply, case, method="HEAD")
        whole = face.ask(headers, case.path, method="GET")
        assert reply.one("content-length") == str(len(whole.body))
        assert seen.viewed == 0
        face.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_demand_holds_for_every_method(request, kind, method):
    face, seen = request.getfixturevalue(kind), Seen()
    assert face.ask([], "/both", method=method, seen=seen).status == 401
    assert seen.viewed == 0


GRANTS = [
    ("project", "/open"),
    ("personal", "/open"),
    ("personal", "/humans"),
    ("star", "/humans"),
    ("star", "/writers"),
    ("project", "/machines"),
    ("write", "/machines"),
    ("write", "/writers"),
    ("project", "/both"),
    ("empty", "/open"),
]


@pytest.mark.parametrize(("state", "path"), GRANTS)
def test_a_good_key_is_let_through(face, keys, sqlite_url, state, path):
    headers = bearer(issue(keys, sqlite_url, state))
    for _ in range(2):
        seen = Seen()
        reply = face.ask(headers, path, seen=seen)
        assert (reply.status, reply.body) == (200, path[1:].encode())
        assert seen.viewed == 1
        kind = UserPrincipal if state in ("personal", "star", "empty") else ServicePrincipal
        assert type(seen.principal) is kind
        if face.name == "wsgi":
            assert seen.connection["keymw.principal"] is seen.principal
            assert seen.connection["keymw.scopes"] == seen.principal.scopes
        else:
            assert seen.connection["user"] is seen.principal
            assert list(seen.connection["auth"].scopes) == sorted(seen.principal.scopes)


def test_an_answer_says_that_it_varies(request, keys):
    headers = bearer(keys.issue_project_key("2", "a", []).token)
    for kind in ("asgi", "wsgi"):
        face = request.getfixturevalue(kind)
        assert face.ask([], "/open").all("vary") == ["Authorization"]
        assert face.ask(headers, "/open").all("vary") == ["Authorization"]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Cookie", "Cookie, Authorization"),
        ("Accept, Cookie", "Accept, Cookie, Authorization"),
        ("*", "*"),
        ("Cookie, *", "Cookie, *"),
        ("authorization", "authorization"),
        ("Cookie,AUTHORIZATION", "Cookie,AUTHORIZATION"),
        ("Cookie, Authorization , Accept", "Cookie, Authorization , Accept"),
        ("X-Authorization", "X-Authorization, Authorization"),
        ("", "Authorization"),
    ],
)
@pytest.mark.parametrize("name", [b"vary", b"Vary", b"VARY"])
def test_vary_is_merged(request, kind, name, before, after):
    face = request.getfixturevalue(kind)
    reply = face.ask([], "/open", answer=[(name, before.encode())])
    assert reply.all("vary") == [after]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_several_vary_fields_keep_all_their_members(request, kind):
    face = request.getfixturevalue(kind)
    fields = [(b"Vary", b"Cookie"), (b"Vary", b"Accept"), (b"X-Vary", b"Other")]
    members = ", ".join(face.ask([], "/open", answer=fields).all("vary")).split(", ")
    assert sorted(set(members)) == ["Accept", "Authorization", "Cookie"]


def test_the_apps_own_headers_are_not_touched(asgi):
    fields = [(b"Vary", b"Cookie"), (b"X-Twice", b"1"), (b"X-Twice", b"2")]
    asgi.ask([], "/open", answer=fields)
    assert fields == [(b"Vary", b"Cookie"), (b"X-Twice", b"1"), (b"X-Twice", b"2")]
    reply = asgi.ask([], "/open", answer=fields)
    assert reply.all("x-twice") == ["1", "2"]


def test_an_upgraded_websocket_is_accepted_with_the_apps_headers(keys, sqlite_url, runner):
    face = AsgiWebSocket(sqlite_url, runner)
    app = face.app(Seen(), [(b"x-one", b"1")])
    sent = face.send(asgi_face.KeyAuthMiddleware(app, face.keys), face.scope([], "/open", "GET"))
    assert sent[0] == {"type": "websocket.accept", "headers": [(b"x-one", b"1")]}
    face.close()


# ---- bad input --------------------------------------------------------------------------------

SPACES = [b"\t", b"\xa0", b"\xc2\xa0", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x85", b"\xc2\x85"]
SPACES += [b"\r", b"\n", b"\r\n ", b"\r\n\t", b"\x00", b"\xe3\x80\x80", b"\xe2\x80\x89"]


def hostile(token, other):
    """Return header lists that must never authenticate, with the statuses that each may have."""
    value = b"Bearer " + token
    body = token[4:]
    cases = {
        "empty": ([b""], {401}),
        "blank": ([b"   "], {401}),
        "token-alone": ([token], {401}),
        "scheme-alone": ([b"Bearer"], {400}),
        "scheme-space": ([b"Bearer "], {400}),
        "scheme-tab": ([b"Bearer\t"], {400}),
        "glued": ([b"Bearer" + token], {401}),
        "other-scheme": ([b"BearerX " + token], {401}),
        "hyphen-scheme": ([b"Bearer-Token " + token], {401}),
        "token-scheme": ([b"Token " + token], {401}),
        "basic": ([b"Basic " + token], {401}),
        "apikey": ([b"ApiKey " + token], {401}),
        "colon": ([b"Bearer: " + token], {400}),
        "equals": ([b"Bearer=" + token], {400}),
        "comma-after": ([value + b","], {400}),
        "comma-before": ([b"," + value], {400, 401}),
        "quoted": ([b'Bearer "' + token + b'"'], {400}),
        "angle": ([b"Bearer <" + token + b">"], {400}),
        "parameter": ([b"Bearer token=" + token], {400, 401}),
        "two-words": ([value + b" " + other], {400}),
        "same-twice-joined": ([value + b"," + value], {400}),
        "same-twice-joined-space": ([value + b", " + value], {400}),
        "joined-tokens": ([value + b"," + other], {400}),
        "basic-joined": ([b"Basic dTpw, " + value], {400, 401}),
        "joined-basic": ([value + b", Basic dTpw"], {400}),
        "twice": ([value, value], {400}),
        "twice-other": ([value, b"Bearer " + other], {400}),
        "twice-empty": ([value, b""], {400}),
        "empty-twice": ([b"", value], {400, 401}),
        "twice-basic": ([b"Basic dTpw", value], {400, 401}),
        "ninety": ([value] * 90, {400}),
        "nul-inside": ([value[:20] + b"\x00" + value[20:]], {400}),
        "nul-after": ([value + b"\x00"], {400}),
        "nul-before": ([b"\x00" + value], {400, 401}),
        "folded": ([b"Bearer\r\n " + token], {400}),
        "folded-inside": ([value[:20] + b"\r\n " + value[20:]], {400}),
        "injected": ([value + b"\r\nX-Admin: 1"], {400}),
        "percent-prefix": ([b"Bearer phs%5F" + body], {400}),
        "percent-all": ([b"Bearer " + b"".join(b"%%%02X" % c for c in token)], {400}),
        "percent-space": ([b"Bearer%20" + token], {400, 401}),
        "plus": ([b"Bearer+" + token], {401}),
        "swapped": ([b"Bearer pha_" + body], {401}),
        "swapped-checksum": ([b"Bearer " + recomputed(b"pha_" + body)], {401}),
        "upper": ([b"Bearer " + token.upper()], {401}),
        "lower": ([b"Bearer " + token.lower()], {401}),
        "swapcase": ([b"Bearer " + token.swapcase()], {401}),
        "upper-prefix": ([b"Bearer PHS_" + body], {401}),
        "truncated": ([value[:-1]], {401}),
        "longer": ([value + b"0"], {401}),
        "padded": ([value + b"="], {401}),
        "padded-more": ([value + b"=" * 100], {401}),
        "padded-inside": ([value[:20] + b"=" + value[20:]], {400}),
        "prefix-only": ([b"Bearer phs_"], {401}),
        "prefix-twice": ([b"Bearer phs_" + token], {401}),
        "latin": ([value + b"\xe9"], {400}),
        "utf8": ([value + "\u00e9".encode()], {400}),
        "full-width": (["Bearer \uff50\uff48\uff53\uff3f".encode() + body], {400}),
        "full-width-digit": ([value[:-1] + "\uff12".encode()], {400}),
        "all-bytes": ([b"Bearer " + bytes(range(256))], {400}),
        "high-bytes": ([bytes(range(128, 256))], {401}),
        "cyrillic-scheme": (["\u0412\u0435arer ".encode() + token], {401}),
        "turkish-scheme": (["BEARER\u0130 ".encode() + token], {400}),
        "bom": ([b"\xef\xbb\xbf" + value], {401}),
        "64k": ([value + b"A" * 65536], {400}),
        "64k-token": ([b"Bearer " + b"A" * 65536], {400}),
        "64k-spaces-between": ([b"Bearer" + b" " * 65536 + token], {400}),
        "64k-equals": ([b"Bearer " + token + b"=" * 65536], {400}),
        "64k-nothing": ([b"\x00" * 65536], {401}),
        "64k-commas": ([b"Bearer " + b"," * 65536], {400}),
        "64k-other": ([b"Basic " + b"A" * 65536], {401}),
    }
    for space in SPACES:
        name = space.hex()
        cases[f"between-{name}"] = ([b"Bearer" + space + token], {400})
        cases[f"between-after-sp-{name}"] = ([b"Bearer " + space + token], {400})
        cases[f"between-before-sp-{name}"] = ([b"Bearer" + space + b" " + token], {400})
        if space != b"\t":  # the two that are trimmed are SP and HTAB
            cases[f"before-{name}"] = ([space + value], {401})
            cases[f"after-{name}"] = ([value + space], {400})
    return cases


def recomputed(text):
    """Return a well-formed token of the first 36 bytes."""
    head = text[: 4 + BODY_LENGTH]
    return head + checksum(head)


HOSTILE = sorted(hostile(b"phs_" + b"0" * 38, b"phs_" + b"1" * 38))


@pytest.mark.parametrize("name", HOSTILE)
def test_bad_input_never_authenticates(face, keys, name, caplog):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token.encode()
    other = keys.issue_project_key("2", "b", ["endpoint:read"]).token.encode()
    # Both are in the caches: a hit must read the header as strictly as a miss.
    assert face.ask(bearer(token.decode()), "/both").status == 200
    assert face.ask(bearer(other.decode()), "/both").status == 200
    values, statuses = hostile(token, other)[name]
    for header in (b"authorization", b"Authorization", b"AUTHORIZATION"):
        headers = [(b"host", b"localhost"), *((header, value) for value in values)]
        seen = Seen()
        reply = face.ask(headers, "/both", seen=seen)
        assert seen.viewed == 0
        if face.name == "websocket":
            assert reply.close == 1008
        else:
            assert reply.status in statuses
            assert reply.all("www-authenticate")
            assert token.decode() not in str(reply)
        # On an open route it is refused or nobody: never somebody.
        seen = Seen()
        reply = face.ask(headers, "/open", seen=seen)
        if reply.status == 200:
            assert seen.principal == AnonymousPrincipal()
        else:
            assert reply.close == 1008 or reply.status in (400, 401)
    assert token.decode() not in caplog.text
    assert [entry for entry in caplog.records if entry.levelno >= logging.ERROR] == []


def test_more_than_one_field_is_refused_whatever_its_case_and_scheme(keys, sqlite_url, runner):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token.encode()
    for kind in (AsgiHttp, AsgiDenial):
        face = kind(sqlite_url, runner)
        for first, second in [
            (b"Bearer " + token, b"Bearer " + token),
            (b"Basic dTpw", b"Bearer " + token),
            (b"", b"Bearer " + token),
            (b"Bearer " + token, b""),
            (b"Basic dTpw", b"Digest x"),
        ]:
            headers = [(b"Authorization", first), (b"accept", b"*/*"), (b"aUTHORIZATION", second)]
            seen = Seen()
            assert face.ask(headers, "/open", seen=seen).status == 400
            assert seen.called == 0
        face.close()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("spaces", [" ", "  ", " " * 50])
@pytest.mark.parametrize("around", [("", ""), (" ", " "), ("\t", "\t \t"), ("   ", "   ")])
@pytest.mark.parametrize("name", [b"authorization", b"AuThOrIzAtIoN"])
def test_what_rfc_9110_allows_is_read(face, keys, scheme, spaces, around, name):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    value = f"{around[0]}{scheme}{spaces}{token}{around[1]}".encode()
    for _ in range(2):
        seen = Seen()
        assert face.ask([(name, value)], "/both", seen=seen).status == 200
        assert seen.viewed == 1


LOOK_ALIKES = [
    b"X-Authorization",
    b"Authorization_",
    b"_Authorization",
    b"Authorization-",
    b"Authorizatio",
    b"Authorizations",
    b"Proxy-Authorization",
    b"X-Forwarded-Authorization",
    b"Authorisation",
    b"X-Api-Key",
    b"Cookie",
    b"Keymw",
    b"Keymw.Principal",
    b"authorization\x00",
    b"authorization ",
]


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alike_headers_are_never_read(face, keys, name):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    seen = Seen()
    reply = face.ask([(name, b"Bearer " + token.encode())], "/both", seen=seen)
    assert seen.viewed == 0
    assert reply.status == 401 or reply.close == 1008
    # Beside a good one it is not a double either.
    headers = [(name, b"Bearer nonsense"), *bearer(token)]
    assert face.ask(headers, "/both").status == 200


def test_query_body_and_cookies_are_never_read(asgi, wsgi, keys):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    query = f"access_token={token}&token={token}&authorization=Bearer%20{token}"
    scope = asgi.scope([(b"cookie", f"authorization=Bearer {token}".encode())], "/both", "POST")
    scope["query_string"] = query.encode()
    seen = Seen()
    sent = asgi.send(
        asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys),
        scope,
        [{"type": "http.request", "body": query.encode()}],
    )
    assert asgi.read(sent).status == 401
    environ = wsgi.environ([(b"cookie", f"authorization=Bearer {token}".encode())], "/both", "POST")
    environ["QUERY_STRING"] = query
    environ["wsgi.input"] = io.BytesIO(query.encode())
    environ["CONTENT_LENGTH"] = str(len(query))
    environ["AUTHORIZATION"] = environ["REDIRECT_HTTP_AUTHORIZATION"] = f"Bearer {token}"
    face = wsgi_face.KeyAuthMiddleware(wsgi.app(seen, []), wsgi.keys)
    assert wsgi.send(face, environ).status == 401
    assert seen.viewed == 0


def test_text_that_is_no_bytes_in_disguise_is_malformed(wsgi, keys):
    token = keys.issue_project_key("2", "a", ["endpoint:read"]).token
    for value in (f"Bearer {token}\u20ac", "Bearer \udc80", f"\uff22earer {token}"):
        environ = wsgi.environ([], "/both", "GET")
        environ["HTTP_AUTHORIZATION"] = value
        seen = Seen()
        face = wsgi_face.KeyAuthMiddleware(wsgi.app(seen, []), wsgi.keys)
        assert wsgi.send(face, environ).status == 400
        assert seen.called == 0


@pytest.mark.parametrize(
    "given", ["02", "\uff12", " 2", "2 ", "2\x00", "+2", "2.0", "", "1", "22", None]
)
def test_another_project_is_refused(face, keys, given):
    headers = bearer(keys.issue_project_key("2", "a", []).token)
    seen = Seen()
    reply = face.ask_project(headers, seen, {"project_id": given})
    assert reply.close == 1008 or reply.status == 403
    assert seen.called == 1
    assert seen.viewed == 0


def test_the_keys_own_project_is_let_through(face, keys):
    for headers in (
        bearer(keys.issue_project_key("2", "a", []).token),
        bearer(keys.issue_personal_key("ann", "a", []).token),
        bearer(keys.issue_personal_key("ann", "b", [], projects=["2", "3"]).token),
    ):
        seen = Seen()
        assert face.ask_project(headers, seen, {"project_id": "2"}).status == 200
        assert seen.viewed == 1


def test_a_refusal_is_answered_even_where_nobody_catches_the_frameworks_exception(wsgi, keys):
    """A plain app that reads requests by Werkzeug does not become a Flask by it."""
    from werkzeug.wrappers import Request

    def app(environ, start_response):
        body = VIEWS[Request(environ).path]().encode()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    headers = bearer(keys.issue_project_key("2", "a", []).token)
    for given, status in ((headers, 403), ([], 401)):
        face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
        assert wsgi.send(face, wsgi.environ(given, "/both", "GET")).status == status


def test_nothing_is_asked_about_what_is_no_token(face, keys, sqlite_url):
    states = ("checksum", "short", "foreign", "bare", "garbled", "basic", "none")
    headers = [credentials(keys, sqlite_url, state) for state in states if state != "short"]
    for header in headers:
        face.ask(header, "/both")
        face.ask(header, "/open")
    assert face.keys.stats().store_reads == 0


def test_a_long_value_is_neither_hashed_nor_matched(face, monkeypatch):
    """Work is counted, not timed: nothing looks at what is over the cap."""
    from keymw import core, http

    work = []

    class Pattern:
        def fullmatch(self, value):
            work.append(len(value))
            return original.fullmatch(value)

    def hashed(value, *, real=core.sha256):
        work.append(len(value))
        return real(value)

    original = http._BEARER
    monkeypatch.setattr(http, "_BEARER", Pattern())
    monkeypatch.setattr(core, "sha256", hashed)
    limit = Settings().max_credentials_length
    for tail in (b"A", b"=", b" ", b"A=", b"\t", b"\xff"):
        for start in (b"Bearer ", b"bearer phs_", b"Basic ", b""):
            face.ask([(b"authorization", start + tail * 65536)], "/open")
    assert all(length <= limit for length in work)
    face.ask([(b"authorization", b"Bearer abc")], "/open")
    assert work  # it does count


# ---- what is and is not somebody else's business ----------------------------------------------


def test_a_foreign_token_stays_anonymous_on_open_routes(face, keys, sqlite_url):
    for state in ("foreign", "basic", "digest", "none"):
        seen = Seen()
        headers = credentials(keys, sqlite_url, state)
        assert face.ask(headers, "/open", seen=seen).status == 200
        assert seen.principal == AnonymousPrincipal()
        assert seen.principal.is_authenticated is False
        if face.name == "wsgi":
            assert seen.connection["keymw.principal"] == AnonymousPrincipal()
            assert seen.connection["keymw.scopes"] == frozenset()
            if headers:
                assert seen.connection["HTTP_AUTHORIZATION"] == headers[0][1].decode()
        else:
            assert seen.connection["user"] == AnonymousPrincipal()
            assert list(seen.connection["auth"].scopes) == []
            assert seen.connection["headers"] == headers


@pytest.mark.parametrize("state", ["none", "foreign", "basic"])
def test_a_user_set_outside_is_left_alone(asgi, keys, sqlite_url, state):
    user, auth, seen = object(), object(), Seen()
    scope = asgi.scope(credentials(keys, sqlite_url, state), "/open", "GET")
    scope |= {"user": user, "auth": auth}
    face = asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys)
    assert asgi.read(asgi.send(face, scope)).status == 200
    assert seen.connection["user"] is user
    assert seen.connection["auth"] is auth
    assert seen.principal == AnonymousPrincipal()
    # It opens nothing that keymw guards.
    guarded = asgi.scope(credentials(keys, sqlite_url, state), "/both", "GET") | {"user": user}
    assert asgi.read(asgi.send(face, guarded)).status == 401


def test_a_good_key_comes_before_a_user_set_outside(asgi, keys):
    scope = asgi.scope(bearer(keys.issue_project_key("2", "a", []).token), "/open", "GET")
    scope |= {"user": object(), "auth": object()}
    seen = Seen()
    asgi.send(asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys), scope)
    assert seen.connection["user"] is seen.principal
    assert seen.principal.project_id == "2"


def test_the_environ_cannot_be_prepared_by_a_client(wsgi):
    environ = wsgi.environ([(b"keymw.principal", b"x"), (b"keymw", b"x")], "/both", "GET")
    environ["keymw.principal"] = ServicePrincipal("k", "2", "l", frozenset(), frozenset())
    environ["keymw.scopes"] = frozenset({"*"})
    seen = Seen()
    face = wsgi_face.KeyAuthMiddleware(wsgi.app(seen, []), wsgi.keys)
    assert wsgi.send(face, environ).status == 401
    assert seen.connection["keymw.principal"] == AnonymousPrincipal()
    assert seen.connection["keymw.scopes"] == frozenset()


@pytest.mark.parametrize("strip", [False, True])
def test_the_scope_is_copied_not_mutated(asgi, keys, strip):
    headers = [*bearer(keys.issue_project_key("2", "a", []).token), (b"accept", b"*/*")]
    for given in (headers, [(b"accept", b"*/*")]):
        scope = asgi.scope(given, "/open", "GET")
        before, seen = dict(scope), Seen()
        face = asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys, strip_credentials=strip)
        asgi.send(face, scope)
        assert scope == before
        assert scope["headers"] is given
        assert seen.connection is not scope
    assert len(headers) == 2


def test_credentials_are_stripped_on_demand(face, keys, sqlite_url):
    token = issue(keys, sqlite_url, "project")
    for name in (b"authorization", b"AUTHORIZATION"):
        for strip in (False, True):
            seen = Seen()
            headers = [(b"host", b"x"), (name, f"Bearer {token}".encode()), (b"accept", b"a/b")]
            reply = face.ask(headers, "/both", seen=seen, strip_credentials=strip)
            assert reply.status == 200
            if face.name == "wsgi":
                assert ("HTTP_AUTHORIZATION" in seen.connection) is not strip
                assert seen.connection["HTTP_ACCEPT"] == "a/b"
            else:
                wanted = [headers[0], headers[2]] if strip else headers
                assert list(seen.connection["headers"]) == wanted


def test_somebody_elses_credentials_are_not_stripped(face, keys, sqlite_url):
    for state in ("foreign", "basic"):
        seen = Seen()
        headers = credentials(keys, sqlite_url, state)
        face.ask(headers, "/open", seen=seen, strip_credentials=True)
        if face.name == "wsgi":
            assert seen.connection["HTTP_AUTHORIZATION"] == headers[0][1].decode()
        else:
            assert list(seen.connection["headers"]) == headers


def test_required_refuses_before_the_app(face, keys, sqlite_url):
    for state, code, error in (
        ("none", "not_authenticated", ""),
        ("basic", "not_authenticated", ""),
        ("foreign", "unrecognized_credentials", INVALID),
    ):
        seen = Seen()
        reply = face.ask(credentials(keys, sqlite_url, state), "/open", seen=seen, required=True)
        detail = "The API key is invalid." if error else ANONYMOUS_DETAIL
        check_refusal(face, reply, Case(state, "/open", 401, code, detail, error))
        assert seen.called == 0
    token = issue(keys, sqlite_url, "project")
    assert face.ask(bearer(token), "/open", required=True).status == 200


def test_the_realm_is_named_in_challenges(face, keys, sqlite_url):
    for case in CASES[:8]:
        headers = credentials(keys, sqlite_url, case.state)
        reply = face.ask(headers, case.path, realm="My API, v2")
        check_refusal(face, reply, case, realm="My API, v2")
        keys.activate_user("ann")
        for key in keys.list(project_id="2"):
            keys.revoke(key.id)


BOTH = [(asgi_face.KeyAuthMiddleware, AsyncKeyService), (wsgi_face.KeyAuthMiddleware, KeyService)]


@pytest.mark.parametrize(("middleware", "service"), BOTH)
@pytest.mark.parametrize("realm", ['a"b', "a\\b", "a\r\nb", "a\x00", "\u00e9", "\u2028", "a\tb"])
def test_a_realm_that_cannot_stand_in_a_header_is_refused(middleware, service, realm):
    with pytest.raises(ValueError, match="realm"):
        middleware(None, service("sqlite://"), realm=realm)


@pytest.mark.parametrize(("middleware", "service"), BOTH)
@pytest.mark.parametrize("realm", [None, 5, b"bytes"])
def test_a_realm_that_is_no_text_is_refused(middleware, service, realm):
    with pytest.raises((TypeError, ValueError)):
        middleware(None, service("sqlite://"), realm=realm)


@pytest.mark.parametrize("realm", ["", "keymw", "My API", "a=b; c, d 'e'", string.ascii_letters])
def test_a_printable_realm_is_taken(realm):
    for middleware, service in BOTH:
        middleware(None, service("sqlite://"), realm=realm)


def test_the_wrong_service_is_refused_at_once():
    for wrong in (KeyService("sqlite://"), None, object(), "sqlite://", AsyncKeyService):
        if wrong is not AsyncKeyService:
            with pytest.raises(TypeError, match="AsyncKeyService"):
                asgi_face.KeyAuthMiddleware(None, wrong)
        if not isinstance(wrong, KeyService):
            with pytest.raises(TypeError, match="KeyService"):
                wsgi_face.KeyAuthMiddleware(None, wrong)
    with pytest.raises(TypeError, match="KeyService"):
        wsgi_face.KeyAuthMiddleware(None, AsyncKeyService("sqlite://"))


# ---- exceptions, bodies and the context -------------------------------------------------------


def test_the_apps_own_exceptions_pass_through(face, keys, sqlite_url):
    class Mine(Exception):  # noqa: N818
        pass

    def fail(*_):
        raise Mine

    async def fail_later(*_):
        raise Mine

    token = issue(keys, sqlite_url, "project")
    for headers in ([], bearer(token)):
        if face.name == "wsgi":
            app = wsgi_face.KeyAuthMiddleware(fail, face.keys)
            call = partial(app, face.environ(headers, "/open", "GET"), None)
        else:
            app = asgi_face.KeyAuthMiddleware(fail_later, face.keys)
            call = partial(face.send, app, face.scope(headers, "/open", "GET"))
        with pytest.raises(Mine):
            call()
        assert current_principal() == AnonymousPrincipal()


def test_a_cached_refusal_or_grant_cannot_be_altered_by_one_request_for_the_next(asgi, keys):
    """What one request does to its `auth` must not hold for the next one."""
    headers = bearer(keys.issue_project_key("2", "a", ["endpoint:read"]).token)

    async def tamper(scope, receive, send):
        for change in (
            lambda: scope["auth"].scopes.append("authenticated"),
            lambda: scope["auth"].scopes.append("admin:write"),
            lambda: scope["auth"].scopes.__iadd__(["admin:write"]),
            lambda: setattr(scope["auth"], "scopes", ["authenticated", "admin:write"]),
        ):
            with contextlib.suppress(Exception):
                change()
        await asgi.app(Seen(), [])(scope, receive, send)

    for given in ([], headers):
        asgi.send(asgi_face.KeyAuthMiddleware(tamper, asgi.keys), asgi.scope(given, "/open", "GET"))
        seen = Seen()
        asgi.ask(given, "/open", seen=seen)
        assert "admin:write" not in seen.connection["auth"].scopes
        assert "admin:write" not in list(seen.connection["auth"].scopes)
        assert ("authenticated" in seen.connection["auth"].scopes) is bool(given)


class Body:
    """A WSGI body that records what is done with it."""

    def __init__(self, parts, seen):
        self.parts = iter(parts)
        self.seen = seen
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.seen.append(current_principal().key_id)
        return next(self.parts)

    def close(self):
        self.closed += 1
        self.seen.append(current_principal().key_id)


def serve(wsgi, app, headers):
    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    return face(wsgi.environ(headers, "/open", "GET"), lambda *_: lambda _: None)


def answering(body):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body() if callable(body) else body

    return app


def test_a_body_is_drawn_and_closed_within_the_request(wsgi, keys):
    issued = keys.issue_project_key("2", "a", [])
    seen = []
    body = Body([b"1", b"2"], seen)
    answer = serve(wsgi, answering(body), bearer(issued.token))
    assert current_principal() == AnonymousPrincipal()
    for part in answer:
        assert part in (b"1", b"2")
        assert current_principal() == AnonymousPrincipal()
    answer.close()
    assert body.closed == 1
    assert seen == [issued.key.id] * 4
    assert current_principal() == AnonymousPrincipal()


def test_a_generator_that_the_server_never_closes_does_not_leak(wsgi, keys):
    issued = keys.issue_project_key("2", "a", [])
    seen = []

    def stream():
        for _ in range(3):
            seen.append(current_principal().key_id)
            yield b"x"

    abandoned = serve(wsgi, answering(stream), bearer(issued.token))
    assert next(iter(abandoned)) == b"x"
    # The thread goes on with another request while the body of the first one still exists.
    assert current_principal() == AnonymousPrincipal()
    nobody = Seen()
    wsgi.ask([], "/open", seen=nobody)
    assert nobody.principal == AnonymousPrincipal()
    assert next(abandoned) == b"x"
    del abandoned
    assert current_principal() == AnonymousPrincipal()
    assert seen == [issued.key.id] * 2


def test_two_bodies_drawn_in_turns_keep_apart(wsgi, keys):
    one, two = (keys.issue_project_key("2", label, []) for label in "ab")

    def stream():
        for _ in range(3):
            yield current_principal().key_id.encode()

    bodies = [serve(wsgi, answering(stream), bearer(issued.token)) for issued in (one, two)]
    drawn = [next(body).decode() for _ in range(3) for body in bodies]
    assert drawn == [one.key.id, two.key.id] * 3
    for body in bodies:
        body.close()


def test_a_failing_body_leaves_nothing_behind(wsgi, keys):
    headers = bearer(keys.issue_project_key("2", "a", []).token)

    class Unwilling:
        def __iter__(self):
            raise OSError("in iter")

        def close(self):
            raise OSError("in close")

    def stream():
        yield b"1"
        raise OSError("in the middle")

    answer = serve(wsgi, answering(stream), headers)
    assert next(answer) == b"1"
    with pytest.raises(OSError, match="in the middle"):
        next(answer)
    assert current_principal() == AnonymousPrincipal()
    answer = serve(wsgi, answering(Unwilling()), headers)
    with pytest.raises(OSError, match="in iter"):
        next(iter(answer))
    with pytest.raises(OSError, match="in close"):
        answer.close()
    assert current_principal() == AnonymousPrincipal()


def test_a_body_without_close_can_be_closed(wsgi):
    answer = serve(wsgi, answering(lambda: iter([b"1"])), [])
    assert list(answer) == [b"1"]
    answer.close()


def test_lists_and_the_servers_files_reach_the_server_as_they_are(wsgi):
    from wsgiref.util import FileWrapper

    for body in ([b"1"], (b"1",)):
        assert serve(wsgi, answering(body), []) is body
    environ = wsgi.environ([], "/open", "GET") | {"wsgi.file_wrapper": FileWrapper}
    file = FileWrapper(io.BytesIO(b"1"))
    face = wsgi_face.KeyAuthMiddleware(answering(file), wsgi.keys)
    assert face(environ, lambda *_: None) is file


def test_what_start_response_returns_can_be_written_to(wsgi):
    written = []

    def app(environ, start_response):
        start_response("200 OK", [])(b"old style")
        return []

    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    face(wsgi.environ([], "/open", "GET"), lambda *_: written.append)
    assert written == [b"old style"]


def test_start_response_gets_the_apps_exception(wsgi):
    calls = []

    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("500 Oops", [("Vary", "Cookie")], ("kind", "error", "trace"))
        return []

    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    face(wsgi.environ([], "/open", "GET"), lambda *args: calls.append(args))
    assert calls == [
        ("200 OK", [("Vary", "Authorization")]),
        ("500 Oops", [("Vary", "Cookie, Authorization")], ("kind", "error", "trace")),
    ]


def test_a_view_that_refuses_after_start_response_is_answered_with_the_refusal(wsgi):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [both().encode()]

    calls = []
    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    body = face(wsgi.environ([], "/both", "GET"), lambda *args: calls.append(args))
    assert [call[0] for call in calls] == ["200 OK", "401 Unauthorized"]
    assert calls[1][2][0] is not None  # PEP 3333: a second call needs exc_info
    assert json.loads(b"".join(body))["status"] == 401


def test_an_app_that_is_a_generator_is_answered_with_the_refusal(wsgi, keys):
    """PEP 3333 allows an app to run only when its first chunk is drawn."""

    def app(environ, start_response):
        body = both().encode()
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield body

    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    headers = bearer(keys.issue_project_key("2", "a", ["endpoint:read"]).token)
    assert wsgi.send(face, wsgi.environ(headers, "/both", "GET")).body == b"both"
    reply = wsgi.send(face, wsgi.environ([], "/both", "GET"))
    assert reply.status == 401
    assert json.loads(reply.body)["code"] == "not_authenticated"


def test_threads_keep_apart(wsgi, keys):
    issued = [keys.issue_project_key("2", f"key {n}", []) for n in range(8)]
    barrier = threading.Barrier(len(issued))
    wrong = []

    def app(environ, start_response):
        barrier.wait()
        mine = current_principal().key_id
        barrier.wait()
        start_response("200 OK", [])
        return [f"{mine} {current_principal().key_id}".encode()]

    def client(key):
        for _ in range(20):
            body = b"".join(serve(wsgi, app, bearer(key.token))).decode()
            if body != f"{key.key.id} {key.key.id}":
                wrong.append(body)
            if current_principal() != AnonymousPrincipal():
                wrong.append(current_principal())

    threads = [threading.Thread(target=client, args=(key,)) for key in issued]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


async def test_tasks_keep_apart(akeys):
    issued = [await akeys.issue_project_key("2", f"key {n}", []) for n in range(8)]
    meeting = asyncio.Barrier(len(issued) + 1)

    async def app(scope, receive, send):
        before = current_principal().key_id
        await meeting.wait()
        assert current_principal().key_id == before
        assert scope["user"].key_id == before
        late = await asyncio.create_task(later())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{before} {late}".encode()})

    async def later():
        return current_principal().key_id

    face = asgi_face.KeyAuthMiddleware(app, akeys)
    driver = AsgiHttp.__new__(AsgiHttp)

    async def client(headers):
        sent = []

        async def send(message):
            sent.append(message)

        await face(driver.scope(headers, "/open", "GET"), None, send)
        assert current_principal() == AnonymousPrincipal()
        return sent[1]["body"].decode()

    bodies = await asyncio.gather(*(client(bearer(key.token)) for key in issued), client([]))
    assert bodies == [f"{key.key.id} {key.key.id}" for key in issued] + ["None None"]


async def test_a_request_that_is_cancelled_leaves_nothing_behind(akeys):
    issued = await akeys.issue_project_key("2", "a", [])
    inside = asyncio.Event()

    async def app(scope, receive, send):
        inside.set()
        await asyncio.Event().wait()

    face = asgi_face.KeyAuthMiddleware(app, akeys)
    scope = AsgiHttp.__new__(AsgiHttp).scope(bearer(issued.token), "/open", "GET")
    serving = asyncio.ensure_future(face(scope, None, None))
    await inside.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert current_principal() == AnonymousPrincipal()


def test_outside_of_a_request_the_principal_is_anonymous():
    assert current_principal() == AnonymousPrincipal()
    assert current_principal().scopes == frozenset()


def test_a_response_that_has_begun_is_not_answered_twice(asgi):
    from keymw.errors import AccessDenied

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        both()

    sent = []

    async def send(message):
        sent.append(message)

    face = asgi_face.KeyAuthMiddleware(app, asgi.keys)
    with pytest.raises(AccessDenied):
        asgi.runner.run(face(asgi.scope([], "/both", "GET"), None, send))
    assert [message["type"] for message in sent] == ["http.response.start"]


@pytest.mark.parametrize("kind", [AsgiWebSocket, AsgiDenial])
def test_a_websocket_refused_after_accept_is_closed(keys, sqlite_url, runner, kind):
    """There is no HTTP answer left to give, whatever the server offers."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        both()

    face = kind(sqlite_url, runner)
    sent = face.send(asgi_face.KeyAuthMiddleware(app, face.keys), face.scope([], "/x", "GET"))
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert sent[1]["code"] == 1008
    face.close()


@pytest.mark.parametrize("kind", [AsgiWebSocket, AsgiDenial])
def test_a_websocket_is_refused_after_its_connect_was_received(keys, sqlite_url, runner, kind):
    face = kind(sqlite_url, runner)
    order = []

    async def receive():
        order.append("connect")
        return {"type": "websocket.connect"}

    async def send(message):
        order.append(message["type"])

    app = asgi_face.KeyAuthMiddleware(None, face.keys, required=True)
    runner.run(app(face.scope([], "/x", "GET"), receive, send))
    assert order[0] == "connect"
    assert len(order) > 1
    face.close()


@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
def test_a_server_may_offer_no_extensions(keys, sqlite_url, runner, extensions):
    face = AsgiWebSocket(sqlite_url, runner)
    scope = face.scope([], "/x", "GET") | {"extensions": extensions}
    app = asgi_face.KeyAuthMiddleware(None, face.keys, required=True)
    assert face.read(face.send(app, scope)).close == 1008
    face.close()


def test_an_unknown_scope_type_is_passed_through(asgi):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send, current_principal()))

    scope = {"type": "mqtt", "nothing": "else"}
    receive, send = object(), object()
    asgi.runner.run(
        asgi_face.KeyAuthMiddleware(app, asgi.keys, required=True)(scope, receive, send)
    )
    assert seen == [(scope, receive, send, AnonymousPrincipal())]
    assert seen[0][0] is scope


# ---- lifespan ---------------------------------------------------------------------------------


async def lifespan_app(scope, receive, send):
    """An app as the specification shows it, with no care for errors."""
    if scope["type"] != "lifespan":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": current_principal().label.encode()})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def no_lifespan_app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": current_principal().label.encode()})


async def run_lifespan(app, requests=()):
    """Do what a server does; return what the app said and what the requests were answered."""
    incoming, said, answers = asyncio.Queue(), [], []
    heard = asyncio.Event()

    async def send(message):
        said.append(message["type"])
        heard.set()

    task = asyncio.ensure_future(app({"type": "lifespan"}, incoming.get, send))

    async def tell(kind):
        heard.clear()
        await incoming.put({"type": kind})
        waiting = asyncio.ensure_future(heard.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    await tell("lifespan.startup")
    for headers in requests:
        sent = []

        async def collect(message, sent=sent):
            sent.append(message)

        scope = AsgiHttp.__new__(AsgiHttp).scope(headers, "/open", "GET")
        await app(scope, None, collect)
        answers.append((sent[0]["status"], sent[1]["body"]))
    if not task.done():
        await tell("lifespan.shutdown")
    (error,) = await asyncio.gather(task, return_exceptions=True)
    return said, answers, error


class Spy:
    """Notes when a service is started and closed."""

    def __init__(self, service, monkeypatch):
        self.calls = []
        for name in ("start", "aclose"):
            original = getattr(service, name)

            async def noted(name=name, original=original):
                self.calls.append(name)
                await original()

            monkeypatch.setattr(service, name, noted)


async def test_the_lifespan_starts_and_closes_the_service(keys, sqlite_url, monkeypatch):
    issued = keys.issue_project_key("2", "machine", [])
    service = AsyncKeyService(sqlite_url)
    spy = Spy(service, monkeypatch)
    app = asgi_face.KeyAuthMiddleware(lifespan_app, service)
    said, answers, error = await run_lifespan(app, [bearer(issued.token)])
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert answers == [(200, b"machine")]
    assert error is None
    assert spy.calls == ["start", "aclose"]


async def test_an_app_without_lifespan_is_served_all_the_same(keys, sqlite_url):
    issued = keys.issue_project_key("2", "machine", [])
    service = AsyncKeyService(sqlite_url)
    app = asgi_face.KeyAuthMiddleware(no_lifespan_app, service)
    said, answers, error = await run_lifespan(app, [bearer(issued.token)])
    assert said == []
    assert isinstance(error, AssertionError)  # the app's own: the server goes on without
    assert answers == [(200, b"machine")]
    await service.aclose()


async def test_a_server_that_has_no_lifespan_is_served_all_the_same(keys, sqlite_url, runner):
    issued = keys.issue_project_key("2", "machine", [])
    sent = []

    async def send(message):
        sent.append(message)

    async with AsyncKeyService(sqlite_url) as service:
        app = asgi_face.KeyAuthMiddleware(lifespan_app, service)
        scope = AsgiHttp.__new__(AsgiHttp).scope(bearer(issued.token), "/open", "GET")
        await app(scope, None, send)
    assert sent[1]["body"] == b"machine"


async def test_an_app_does_not_start_on_a_database_that_is_not_migrated(sqlite_url):
    """The server has to hear of it: an exception alone means "no lifespan" to many servers."""
    service = AsyncKeyService(sqlite_url)
    app = asgi_face.KeyAuthMiddleware(lifespan_app, service)
    said, _, error = await run_lifespan(app)
    await service.aclose()
    assert "lifespan.startup.complete" not in said
    assert said == ["lifespan.startup.failed"]
    assert error is None or "keymw migrate" in str(error)


async def test_a_starlette_app_does_not_start_on_a_database_that_is_not_migrated(sqlite_url):
    from starlette.applications import Starlette

    service = AsyncKeyService(sqlite_url)
    app = asgi_face.KeyAuthMiddleware(Starlette(), service)
    said, _, error = await run_lifespan(app)
    await service.aclose()
    assert said == ["lifespan.startup.failed"]
    assert "keymw migrate" in str(error)


async def test_an_app_that_migrates_while_it_starts_does_start(sqlite_url):
    from starlette.applications import Starlette

    service = AsyncKeyService(sqlite_url)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        await service.migrate()
        yield

    app = asgi_face.KeyAuthMiddleware(Starlette(lifespan=lifespan), service)
    said, _, error = await run_lifespan(app)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert error is None


async def test_a_service_is_closed_even_if_the_apps_shutdown_fails(keys, sqlite_url, monkeypatch):
    from starlette.applications import Starlette

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        raise OSError("at the end")

    service = AsyncKeyService(sqlite_url)
    spy = Spy(service, monkeypatch)
    app = asgi_face.KeyAuthMiddleware(Starlette(lifespan=lifespan), service)
    said, _, error = await run_lifespan(app)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert isinstance(error, OSError)
    assert spy.calls == ["start", "aclose"]


# ---- outages ----------------------------------------------------------------------------------


def check_outage(face, reply):
    if face.name == "websocket":
        assert reply == Reply(None, close=1008)
        return
    assert reply.status == 503
    assert reply.one("retry-after") == "1"
    assert reply.all("www-authenticate") == []
    assert reply.one("cache-control") == "no-store"
    assert reply.one("vary") == "Authorization"
    problem = json.loads(reply.body)
    assert problem["code"] == "temporarily_unavailable"
    assert problem["title"] == "Service Unavailable"
    assert problem["status"] == 503
    assert isinstance(problem["detail"], str)
    assert "fire" not in reply.body.decode()


@pytest.mark.parametrize("path", ["/open", "/both", "/humans", "/writers"])
@pytest.mark.parametrize("state", ["project", "personal", "star", "revoked", "unknown"])
def test_an_outage_is_503_and_never_401(face, keys, sqlite_url, path, state):
    headers = bearer(issue(keys, sqlite_url, state))
    face.outage()
    for _ in range(2):
        seen = Seen()
        check_outage(face, face.ask(headers, path, seen=seen))
        assert seen.called == 0


def test_an_outage_is_nobodys_who_sent_no_key(face, keys, sqlite_url):
    face.outage()
    for state in ("none", "basic", "foreign"):
        headers = credentials(keys, sqlite_url, state)
        assert face.ask(headers, "/open").status == 200
        reply = face.ask(headers, "/both")
        assert reply.status == 401 or reply.close == 1008
    reply = face.ask(bearer(issue(keys, sqlite_url, "checksum")), "/open")
    assert reply.status == 401 or reply.close == 1008


def test_a_known_key_outlives_an_outage_for_a_while(face, keys, sqlite_url):
    face.keys._clock = clock = Stepped()
    headers = bearer(issue(keys, sqlite_url, "project"))
    assert face.ask(headers, "/both").status == 200
    face.outage()
    assert face.ask(headers, "/both").status == 200
    clock.seconds += Settings().max_age + 1
    for path in ("/both", "/open"):
        check_outage(face, face.ask(headers, path))


def test_an_outage_is_forgotten_when_it_is_over(face, keys, sqlite_url, caplog):
    headers = bearer(issue(keys, sqlite_url, "project"))
    face.outage()
    for _ in range(3):
        check_outage(face, face.ask(headers, "/both"))
    errors = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert len(errors) == 1  # once, not once a request
    if face.name == "wsgi":
        del face.keys._deps().store.find
    else:

        async def repair():
            del face.keys._deps().store.find

        face.runner.run(repair())
    assert face.ask(headers, "/both").status == 200


def test_a_ruined_database_is_503(face, keys, sqlite_url, tmp_path, runner):
    headers = bearer(issue(keys, sqlite_url, "project"))
    ruin = tmp_path / "ruin.db"
    ruin.write_bytes(b"this is not a database at all" * 100)
    other = type(face)(f"sqlite:///{ruin}", runner)
    for path in ("/open", "/both"):
        check_outage(other, other.ask(headers, path))
    assert other.ask([], "/open").status == 200
    other.close()


def test_a_missing_or_unmigrated_database_is_503(face, keys, sqlite_url, tmp_path, runner, caplog):
    headers = bearer(issue(keys, sqlite_url, "project"))
    for name, word in (("no/such/folder.db", "cannot"), ("empty.db", "keymw migrate")):
        caplog.clear()
        other = type(face)(f"sqlite:///{tmp_path}/{name}", runner)
        for path in ("/open", "/both"):
            check_outage(other, other.ask(headers, path))
        assert word in caplog.text
        other.close()


def test_the_hot_path_reads_as_strictly_as_the_cold_one(keys, sqlite_url, runner):
    """An imported secret may have been looked up by `verify()`, which has no header to check."""
    from hashlib import sha256

    settings = Settings(accept_unchecksummed=(PROJECT,))
    secret = "phs_one,two three"
    for kind in (AsgiHttp, Wsgi):
        face = kind(sqlite_url, runner)
        face.close()
        face.keys = type(face.keys)(sqlite_url, settings=settings)
        if kind is AsgiHttp:
            keys.import_key(
                PROJECT,
                sha256(secret.encode()).hexdigest(),
                project_id="2",
                label="imported",
                scopes=["endpoint:read"],
            )
        assert face.ask(bearer(secret), "/both").status == 400
        verdict = face.keys.verify(secret)  # whatever it says: no header can hold this
        if kind is AsgiHttp:
            runner.run(verdict)
        assert face.ask(bearer(secret), "/both").status == 400
        face.close()
