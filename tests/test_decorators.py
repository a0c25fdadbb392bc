"""`require_scopes` in Starlette, FastAPI and Flask: the same answers, however the app is built."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import AsyncIterable, Iterable  # noqa: TC003 - FastAPI reads them
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse as FastAPIStream
from flask import Blueprint, Flask, Response, stream_with_context
from flask.views import MethodView, View
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.exceptions import HTTPException as WerkzeugHTTPException
from werkzeug.test import Client

from keymw import (
    AsyncKeyService,
    KeyKind,
    ScopeCatalog,
    StoreUnavailable,
    current_principal,
    require_scopes,
)
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face
from keymw.errors import InvalidInput, MiddlewareMissing
from keymw.store.sql import SqlStore
from keymw.tokens import generate

KINDS = [KeyKind.PROJECT_SECRET, "personal"]
PLACES = ["framework", "whole"]

guard = require_scopes("endpoint:read", kinds=KINDS)
of_project = require_scopes("endpoint:read", kinds=KINDS, project="project_id")
humans = require_scopes("endpoint:read")


def who():
    return current_principal().display_name


def timed(function):
    """Any decorator out there."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def timed_async(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        return await function(*args, **kwargs)

    return wrapper


# ---- Starlette --------------------------------------------------------------------------------


@guard
async def starlette_async(request):
    return PlainTextResponse(request.user.display_name)


@guard
def starlette_sync(request):
    return PlainTextResponse(who())


@guard
class StarletteClass(HTTPEndpoint):
    async def get(self, request):
        return PlainTextResponse(who())


class StarletteMethods(HTTPEndpoint):
    @guard
    async def get(self, request):
        return PlainTextResponse(who())

    @guard
    def post(self, request):
        return PlainTextResponse(who())


@guard
async def starlette_stream(request):
    async def parts():
        for _ in range(2):
            yield who()

    def check(expected):
        assert who() == expected

    return StreamingResponse(parts(), background=BackgroundTask(check, who()))


@guard
async def raw_asgi(scope, receive, send):
    await PlainTextResponse(who())(scope, receive, send)


class Callable:
    async def __call__(self, request):
        return PlainTextResponse(who())


class SyncCallable:
    def __call__(self, request):
        return PlainTextResponse(who())


@guard
async def starlette_ws(websocket):
    await websocket.accept()
    await websocket.send_text(who())
    await websocket.close()


@guard
class StarletteWsClass(WebSocketEndpoint):
    async def on_connect(self, websocket):
        await websocket.accept()
        await websocket.send_text(who())
        await websocket.close()


class StarletteWsMethod(WebSocketEndpoint):
    @guard
    async def on_connect(self, websocket):
        await websocket.accept()
        await websocket.send_text(who())
        await websocket.close()


@of_project
async def starlette_project(request):
    return PlainTextResponse(str(request.path_params["project_id"]))


@humans
async def starlette_humans(request):
    return PlainTextResponse(who())


async def starlette_open(request):
    return PlainTextResponse(who() or "nobody")


@of_project
async def starlette_ws_project(websocket):
    await websocket.accept()
    await websocket.send_text(websocket.path_params["project_id"])
    await websocket.close()


def starlette_app(**options):
    guarded = [
        Route("/async", starlette_async),
        Route("/sync", starlette_sync),
        Route("/class", StarletteClass),
        Route("/methods", StarletteMethods),
        Route("/stream", starlette_stream),
        Route("/partial", functools.partial(starlette_sync)),
        Route("/callable", guard(Callable())),
        Route("/sync-callable", guard(SyncCallable())),
        Route("/guarded-partial", guard(functools.partial(starlette_open))),
        Route("/above", timed_async(starlette_async)),
        Route("/below", guard(timed_async(starlette_open))),
        Route("/stacked", guard(guard(starlette_open))),
        Mount("/mount", routes=[Route("/in", starlette_async)]),
        Mount("/app", Starlette(routes=[Route("/in", starlette_async)])),
        Mount("/router", Router(routes=[Route("/in", starlette_sync)])),
        Mount("/raw", raw_asgi),
        Mount("/guarded-app", guard(Starlette(routes=[Route("/in", starlette_open)]))),
    ]
    return Starlette(
        routes=[
            Route("/open", starlette_open),
            Route("/humans", starlette_humans),
            Route("/projects/{project_id}/x", starlette_project),
            Mount("/mounted/{project_id}", routes=[Route("/x", starlette_project)]),
            Route("/elsewhere", starlette_project),
            WebSocketRoute("/ws", starlette_ws),
            WebSocketRoute("/ws-class", StarletteWsClass),
            WebSocketRoute("/ws-method", StarletteWsMethod),
            WebSocketRoute("/ws-project/{project_id}", starlette_ws_project),
            Mount("/ws-mount", routes=[WebSocketRoute("/in", starlette_ws)]),
            *guarded,
        ],
        **options,
    )


STARLETTE = [
    "/async",
    "/sync",
    "/class",
    "/methods",
    "/stream",
    "/partial",
    "/callable",
    "/sync-callable",
    "/guarded-partial",
    "/above",
    "/below",
    "/stacked",
    "/mount/in",
    "/app/in",
    "/router/in",
    "/raw/in",
    "/guarded-app/in",
]

# ---- FastAPI ----------------------------------------------------------------------------------


class Item(BaseModel):
    owner: str


def get_session():
    yield "session"


@guard
async def guarded_reader():
    return who()


def fastapi_app(**options):  # noqa: C901 - one view a form
    app = FastAPI(**options)
    router = APIRouter(prefix="/router")

    @app.get("/open")
    async def _open():
        return who() or "nobody"

    @app.get("/async")
    @guard
    async def _async():
        return who()

    @app.get("/sync")
    @guard
    def _sync():
        return who()

    @app.get("/request")
    @guard
    async def _request(request: Request, q: str = "d"):
        return request.user.display_name

    @app.get("/only-query")
    @guard
    def _query(q: int = 1, *, r: int = 2):
        return who()

    @router.get("/in")
    @guard
    async def _routed():
        return who()

    @app.get("/depends")
    @guard
    async def _depends(session: Annotated[str, Depends(get_session)]):
        assert session == "session"
        return who()

    @app.get("/dependency", dependencies=[Depends(guard(lambda: None))])
    async def _dependency():
        return who()

    @app.get("/as-value")
    def _value(reader: Annotated[str, Depends(guarded_reader)]):
        return reader

    @app.get("/model", response_model=Item)
    @guard
    async def _model():
        return {"owner": who(), "secret": "x"}

    @app.get("/annotated")
    @guard
    async def _annotated() -> Item:
        return Item(owner=who())

    @app.get("/stream")
    @guard
    def _stream():
        return FastAPIStream(who() for _ in range(1))

    @app.get("/generator")
    @guard
    def _generator() -> Iterable[Item]:
        yield Item(owner=who())
        yield Item(owner=who())

    @app.get("/async-generator")
    @guard
    async def _async_generator() -> AsyncIterable[Item]:
        yield Item(owner=who())
        yield Item(owner=who())

    @app.get("/above")
    @timed_async
    @guard
    async def _above():
        return who()

    @app.get("/above-sync")
    @timed
    @guard
    def _above_sync():
        return who()

    @app.get("/above-mixed")
    @timed
    @guard
    async def _above_mixed():
        return who()

    @app.get("/below")
    @guard
    @timed_async
    async def _below():
        return who()

    @app.get("/below-mixed")
    @guard
    @timed
    async def _below_mixed():
        return who()

    @app.get("/stacked")
    @guard
    @timed_async
    @require_scopes("endpoint:read", kinds=KINDS)
    async def _stacked():
        return who()

    @app.get("/humans")
    @humans
    async def _humans():
        return who()

    @app.get("/projects/{project_id}/x")
    @of_project
    async def _project(project_id: str):
        return project_id

    @app.get("/undeclared/{project_id}/x")  # noqa: FAST003 - it need not ask for it
    @of_project
    def _undeclared():
        return who()

    @app.get("/number/{project_id}/x")
    @of_project
    def _number(project_id: int):
        return project_id

    @app.get("/stacked-project/{project_id}")  # noqa: FAST003
    @guard
    @of_project
    async def _stacked_project():
        return who()

    @app.get("/elsewhere")
    @of_project
    def _elsewhere(project_id: str = "2"):
        return project_id

    @app.websocket("/ws")
    @guard
    async def _ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(who())
        await websocket.close()

    @app.websocket("/ws-project/{project_id}")
    @of_project
    async def _ws_project(websocket: WebSocket, project_id: str):
        await websocket.accept()
        await websocket.send_text(project_id)
        await websocket.close()

    app.include_router(router)
    return app


FASTAPI = [
    "/async",
    "/sync",
    "/request",
    "/only-query",
    "/router/in",
    "/depends",
    "/dependency",
    "/as-value",
    "/model",
    "/annotated",
    "/stream",
    "/generator",
    "/async-generator",
    "/above",
    "/above-sync",
    "/above-mixed",
    "/below",
    "/below-mixed",
    "/stacked",
]

# ---- Flask ------------------------------------------------------------------------------------


def flask_app():  # noqa: C901 - one view a form
    app = Flask(__name__)
    blueprint = Blueprint("blueprint", __name__, url_prefix="/blueprint")

    @app.get("/open")
    def open_():
        return who() or "nobody"

    @app.get("/sync")
    @guard
    def sync():
        return who()

    @app.get("/async")
    @guard
    async def asynchronous():
        return who()

    class Methods(MethodView):
        @guard
        def get(self):
            return who()

    class AsyncMethods(MethodView):
        @guard
        async def get(self):
            return who()

    @guard
    class Whole(MethodView):
        def get(self):
            return who()

    @guard
    class Plain(View):
        init_every_request = False

        def dispatch_request(self):
            return who()

    @guard
    class AsyncPlain(View):
        async def dispatch_request(self):
            return who()

    class Decorated(MethodView):
        decorators = [guard]  # noqa: RUF012 - Flask's way

        def get(self):
            return who()

    views = (Methods, AsyncMethods, Whole, Plain, AsyncPlain, Decorated)
    for view in views:
        app.add_url_rule(f"/{view.__name__}", view_func=view.as_view(view.__name__))

    @blueprint.get("/in")
    @guard
    def in_blueprint():
        return who()

    @app.get("/stream")
    @guard
    def stream():
        return Response(stream_with_context(who() for _ in range(1)))

    @app.get("/stream-plain")
    @guard
    def stream_plain():
        return Response(who() for _ in range(1))

    @app.get("/generator")
    @guard
    def generator():
        yield who()

    @app.get("/above")
    @timed
    @guard
    def above():
        return who()

    @app.get("/below")
    @guard
    @timed
    def below():
        return who()

    @app.get("/stacked")
    @guard
    @require_scopes("endpoint:read", kinds=KINDS)
    def stacked():
        return who()

    @app.get("/humans")
    @humans
    def for_humans():
        return who()

    @app.get("/projects/<project_id>/x")
    @of_project
    def project(project_id):
        return project_id

    @app.get("/number/<int:project_id>/x")
    @of_project
    def number(project_id):
        assert project_id == 2
        return str(project_id)

    @app.get("/elsewhere")
    @of_project
    def elsewhere():
        return who()

    app.register_blueprint(blueprint)
    return app


FLASK = [
    "/sync",
    "/async",
    "/Methods",
    "/AsyncMethods",
    "/Whole",
    "/Plain",
    "/AsyncPlain",
    "/Decorated",
    "/blueprint/in",
    "/stream",
    "/stream-plain",
    "/generator",
    "/above",
    "/below",
    "/stacked",
]

MAKERS = {"starlette": starlette_app, "fastapi": fastapi_app, "flask": flask_app}
PATHS = [
    *(("starlette", path) for path in STARLETTE),
    *(("fastapi", path) for path in FASTAPI),
    *(("flask", path) for path in FLASK),
]
IDS = [framework + path for framework, path in PATHS]


# ---- how they are asked -----------------------------------------------------------------------


class Answer:
    """An answer, whichever client got it."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    @property
    def problem(self):
        assert self.headers["content-type"] == "application/problem+json"
        return json.loads(self.body)


def ask(app, path, token=None, *, method="GET", scheme="Bearer", **options):
    """Ask as a server does: what the app raises, the test raises."""
    headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
    headers |= options.pop("headers", {})
    if isinstance(app, (Flask, wsgi_face.KeyAuthMiddleware)):
        with Client(app, Response).open(path, method=method, headers=headers, **options) as got:
            return Answer(got.status_code, got.headers.items(), got.get_data())
    with TestClient(app) as client:
        got = client.request(method, path, headers=headers, **options)
        return Answer(got.status_code, got.headers.items(), got.content)


@pytest.fixture
def service(keys, sqlite_url):
    """Return an asynchronous service on the database of `keys`."""
    return AsyncKeyService(sqlite_url)


@pytest.fixture
def wrap(keys, service):
    """Return what puts the middleware around an app, at either place."""

    def wrap(app, place="whole", **options):
        if isinstance(app, Flask):
            if place == "whole":
                return wsgi_face.KeyAuthMiddleware(app, keys, **options)
            app.wsgi_app = wsgi_face.KeyAuthMiddleware(app.wsgi_app, keys, **options)
            return app
        if place == "whole":
            return asgi_face.KeyAuthMiddleware(app, service, **options)
        app.add_middleware(asgi_face.KeyAuthMiddleware, keys=service, **options)
        return app

    return wrap


@pytest.fixture
def machine(keys):
    return keys.issue_project_key("2", "machine", ["endpoint:read"]).token


@pytest.fixture
def person(keys):
    return keys.issue_personal_key("ann", "laptop", ["endpoint:read"]).token


@pytest.fixture
def narrow(keys):
    return keys.issue_project_key("2", "narrow", ["flag:write"]).token


@pytest.fixture
def quiet(caplog):
    """Check that nothing at all was logged as an error."""
    yield
    assert [entry for entry in caplog.get_records("call") if entry.levelno >= logging.ERROR] == []


def check_problem(answer, status, code, detail, challenge, title):
    assert answer.status == status
    assert answer.problem == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    assert answer.headers["www-authenticate"] == f'Bearer realm="keymw"{challenge}'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Authorization"
    assert int(answer.headers["content-length"]) == len(answer.body)


MISSING = (
    401,
    "not_authenticated",
    "Authentication credentials were not provided.",
    "",
    "Unauthorized",
)
UNRECOGNIZED = (
    401,
    "unrecognized_credentials",
    "The API key is invalid.",
    ', error="invalid_token"',
    "Unauthorized",
)
INVALID = (
    401,
    "invalid_key",
    "The API key is invalid.",
    ', error="invalid_token"',
    "Unauthorized",
)
NARROW = (
    403,
    "scope_missing",
    "API key missing required scope 'endpoint:read'.",
    ', error="insufficient_scope", scope="endpoint:read"',
    "Forbidden",
)
KIND = (
    403,
    "kind_not_supported",
    "This endpoint does not support project secret API keys.",
    ', error="insufficient_scope"',
    "Forbidden",
)
PROJECT = (
    403,
    "wrong_project",
    "API key does not have access to the requested project.",
    ', error="insufficient_scope"',
    "Forbidden",
)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("framework", "path"), PATHS, ids=IDS)
def test_every_form_of_view(wrap, machine, person, narrow, framework, path, place):
    app = wrap(MAKERS[framework](), place)
    check_problem(ask(app, path), *MISSING)
    check_problem(ask(app, path, "dTpw", scheme="Basic"), *MISSING)
    check_problem(ask(app, path, "not.ours"), *UNRECOGNIZED)
    check_problem(ask(app, path, generate("phs_")), *INVALID)
    check_problem(ask(app, path, narrow), *NARROW)
    assert ask(app, path, "a b").status == 400
    for token, name in ((machine, "machine"), (person, "ann")):
        answer = ask(app, path, token)
        assert answer.status == 200
        assert name in answer.body.decode()
        assert answer.headers["vary"] == "Authorization"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_a_refusal_of_head_has_no_body(wrap, machine, narrow, framework, place):
    app = wrap(MAKERS[framework](), place)
    paths = ["/humans"] if framework != "fastapi" else []  # FastAPI has no HEAD of its own
    for path in paths:
        for token, status in ((None, 401), (machine, 403), (narrow, 403)):
            answer = ask(app, path, token, method="HEAD")
            assert (answer.status, answer.body) == (status, b"")
            whole = ask(app, path, token)
            assert answer.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_kinds(wrap, machine, person, framework, place):
    app = wrap(MAKERS[framework](), place)
    check_problem(ask(app, "/humans", machine), *KIND)
    assert ask(app, "/humans", person).status == 200


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_an_open_route_stays_open(wrap, machine, framework, place):
    app = wrap(MAKERS[framework](), place)
    for token, name in ((None, b"nobody"), ("not.ours", b"nobody"), (machine, b"machine")):
        assert name in ask(app, "/open", token).body
    check_problem(ask(app, "/open", generate("pha_")), *INVALID)


PROJECT_PATHS = [
    ("starlette", "/projects/{}/x"),
    ("starlette", "/mounted/{}/x"),
    ("fastapi", "/projects/{}/x"),
    ("fastapi", "/undeclared/{}/x"),
    ("fastapi", "/number/{}/x"),
    ("fastapi", "/stacked-project/{}"),
    ("flask", "/projects/{}/x"),
]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("framework", "path"), PROJECT_PATHS)
def test_the_project_in_the_path_is_the_keys(wrap, keys, machine, framework, path, place):
    app = wrap(MAKERS[framework](), place)
    assert ask(app, path.format("2"), machine).status == 200
    limited = keys.issue_personal_key("ann", "b", ["*"], projects=["2"]).token
    assert ask(app, path.format("2"), limited).status == 200
    for other in ("3", "02", "%EF%BC%92", "2%20", "%32%32", "2%00", "-2"):
        if path.startswith("/number") and other not in ("3", "02"):
            continue  # FastAPI's own 422
        for token in (machine, limited):
            check_problem(ask(app, path.format(other), token), *PROJECT)
    check_problem(ask(app, path.format("3") + "?project_id=2", machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_a_route_without_the_project_takes_nobody(wrap, keys, machine, framework, place):
    app = wrap(MAKERS[framework](), place)
    check_problem(ask(app, "/elsewhere?project_id=2", machine), *PROJECT)
    everything = keys.issue_personal_key("ann", "b", ["*"]).token
    check_problem(ask(app, "/elsewhere", everything), *PROJECT)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_converted_project_is_compared_as_the_view_gets_it(wrap, machine, place):
    app = wrap(flask_app(), place)
    assert ask(app, "/number/2/x", machine).body == b"2"
    check_problem(ask(app, "/number/3/x", machine), *PROJECT)
    check_problem(ask(app, "/number/22/x", machine), *PROJECT)


# ---- WebSockets -------------------------------------------------------------------------------


def without_denial(app):
    """Return the app on a server that has no `websocket.http.response`."""

    async def plain(scope, receive, send):
        scope.pop("extensions", None)
        await app(scope, receive, send)

    return plain


WS_PATHS = [
    ("starlette", "/ws"),
    ("starlette", "/ws-class"),
    ("starlette", "/ws-method"),
    ("starlette", "/ws-mount/in"),
    ("fastapi", "/ws"),
]


def connect(app, path, token):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with TestClient(app).websocket_connect(path, headers=headers) as websocket:
        return websocket.receive_text()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("framework", "path"), WS_PATHS)
def test_websockets(wrap, machine, person, narrow, framework, path, place):
    app = wrap(MAKERS[framework](), place)
    assert connect(app, path, machine) == "machine"
    assert connect(without_denial(app), path, person) == "ann"
    refused = (None, MISSING), ("not.ours", UNRECOGNIZED), (narrow, NARROW)
    for token, expected in (*refused, (generate("phs_"), INVALID)):
        with pytest.raises(WebSocketDenialResponse) as denial:
            connect(app, path, token)
        got = denial.value
        check_problem(Answer(got.status_code, got.headers.items(), got.content), *expected)
        with pytest.raises(WebSocketDisconnect) as closed:
            connect(without_denial(app), path, token)
        assert closed.value.code == 1008


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
def test_a_websockets_project(wrap, machine, framework, place):
    app = wrap(MAKERS[framework](), place)
    assert connect(app, "/ws-project/2", machine) == "2"
    for other in ("3", "02", "%EF%BC%92"):
        with pytest.raises(WebSocketDenialResponse) as denial:
            connect(app, f"/ws-project/{other}", machine)
        assert denial.value.status_code == 403
        with pytest.raises(WebSocketDisconnect) as closed:
            connect(without_denial(app), f"/ws-project/{other}", machine)
        assert closed.value.code == 1008


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("denial", [True, False])
def test_a_method_that_refuses_an_accepted_websocket_closes_it(wrap, machine, place, denial):
    class Chat(WebSocketEndpoint):
        encoding = "text"

        @require_scopes("chat:write", kinds=KINDS)
        async def on_receive(self, websocket, data):
            raise AssertionError("reached")

    app = wrap(Starlette(routes=[WebSocketRoute("/ws", Chat)]), place)
    app = app if denial else without_denial(app)
    headers = {"Authorization": f"Bearer {machine}"}
    with TestClient(app).websocket_connect("/ws", headers=headers) as websocket:
        websocket.send_text("hello")
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
        assert closed.value.code == 1008


# ---- FastAPI's own ways -----------------------------------------------------------------------


def test_openapi_shows_nothing_of_ours(wrap):
    plain = FastAPI()
    decorated = FastAPI()

    async def read(project_id: str, q: int = 1) -> Item:
        return Item(owner="x")

    plain.get("/projects/{project_id}")(read)
    decorated.get("/projects/{project_id}")(guard(of_project(read)))
    assert decorated.openapi() == plain.openapi()
    schema = json.dumps(fastapi_app().openapi())
    assert "keymw" not in schema
    assert "connection" not in schema.lower()


def test_the_view_itself_is_not_changed():
    async def read(q: int = 1) -> Item:
        """Read it."""
        return Item(owner="x")

    guarded = guard(read)
    assert guarded.__name__ == "read"
    assert guarded.__doc__ == "Read it."
    assert guarded.__wrapped__ is read
    assert "keymw_connection" not in read.__code__.co_varnames


class Filters(BaseModel):
    """A body whose field has the name of a connection's attribute."""

    scope: dict


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "scope",
    [
        {"type": "http"},
        {"type": "http", "keymw": None},
        {"type": "http", "keymw": {"verdict": "granted"}},
        {"type": "http", "keymw": {}, "path_params": {"project_id": "2"}},
        {"type": "websocket", "starlette.exception_handlers": [{}, {}]},
    ],
)
@pytest.mark.parametrize("async_", [True, False])
def test_what_a_client_sends_is_never_taken_for_the_connection(wrap, machine, place, scope, async_):
    app = FastAPI()

    @guard
    async def asynchronous(project_id: str, body: Filters):
        return who()

    @guard
    def synchronous(project_id: str, body: Filters):
        return who()

    view = asynchronous if async_ else synchronous
    app.post("/{project_id}/x")(of_project(view))
    app = wrap(app, place)
    body = {"scope": scope}
    assert ask(app, "/2/x", machine, method="POST", json=body).body == b'"machine"'
    check_problem(ask(app, "/3/x", machine, method="POST", json=body), *PROJECT)
    check_problem(ask(app, "/2/x", method="POST", json=body), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_an_argument_that_has_a_scope_is_not_the_connection(wrap, machine):
    class Session:
        scope = {"type": "request"}  # noqa: RUF012

        def __getattr__(self, name):
            raise RuntimeError("working outside of a session")

    app = FastAPI()

    @app.get("/")
    @guard
    def view(session=Depends(Session)):  # noqa: B008
        return who()

    assert ask(wrap(app), "/", machine).status == 200


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_refusal_comes_before_dependencies_and_validation(wrap, machine, place):
    """Who may not call a route neither runs its dependencies nor learns its schema."""
    app, ran = FastAPI(), []

    @app.post("/")
    @humans
    async def view(item: Item, dependency=Depends(lambda: ran.append(1))):  # noqa: B008
        raise AssertionError("reached")

    app = wrap(app, place)
    for body in ({"owner": "x"}, {"owner": 1}, {}):
        check_problem(ask(app, "/", method="POST", json=body), *MISSING)
        check_problem(ask(app, "/", machine, method="POST", json=body), *KIND)
    assert ran == []


@pytest.mark.usefixtures("quiet")
def test_a_view_decorated_before_fastapi_is_imported(wrap, machine, narrow, monkeypatch):
    """A module of views need not import FastAPI."""
    import sys

    app = FastAPI()
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "fastapi")

        @of_project
        def view():
            return who()

        @of_project
        async def view_async(project_id: str):
            return who()

    app.get("/sync/{project_id}")(view)
    app.get("/async/{project_id}")(view_async)
    for place in PLACES:
        wrapped = wrap(app, place)
        for path in ("/sync", "/async"):
            assert ask(wrapped, f"{path}/2", machine).status == 200
            check_problem(ask(wrapped, f"{path}/3", machine), *PROJECT)
            check_problem(ask(wrapped, f"{path}/2", narrow), *NARROW)
            check_problem(ask(wrapped, f"{path}/2"), *MISSING)


# ---- other middleware around and between ------------------------------------------------------


class CopiesScope:
    """Any middleware that works on its own copy, as keymw's does."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(dict(scope), receive, send)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("framework", "path"), [row for row in PROJECT_PATHS if row[0] != "flask"])
def test_a_middleware_between_may_copy_the_scope(wrap, machine, framework, path, place):
    app = MAKERS[framework]()
    app.add_middleware(CopiesScope)
    app = wrap(app, place)
    assert ask(app, path.format("2"), machine).status == 200
    check_problem(ask(app, path.format("3"), machine), *PROJECT)
    check_problem(ask(app, path.format("2")), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_a_middleware_between_may_copy_the_environ(wrap, machine):
    app = flask_app()
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start_response: inner(dict(environ), start_response)
    app = wrap(app)
    assert ask(app, "/projects/2/x", machine).status == 200
    check_problem(ask(app, "/projects/3/x", machine), *PROJECT)
    check_problem(ask(app, "/sync"), *MISSING)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
def test_base_http_middleware_between(wrap, machine, framework):
    from starlette.middleware.base import BaseHTTPMiddleware

    class Plain(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    app = MAKERS[framework]()
    app.add_middleware(Plain)
    app = wrap(app)
    assert ask(app, "/projects/2/x", machine).status == 200
    check_problem(ask(app, "/projects/3/x", machine), *PROJECT)
    check_problem(ask(app, "/async"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_what_a_middleware_inside_adds_to_a_refusal_is_kept(wrap, machine):
    """Otherwise no browser could read why it was refused."""
    app = starlette_app(middleware=[Middleware(CORSMiddleware, allow_origins=["https://x.test"])])
    origin = {"Origin": "https://x.test"}
    wrapped = wrap(app)
    for path, token, status in (("/async", machine, 200), ("/async", None, 401)):
        answer = ask(wrapped, path, token, headers=origin)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://x.test"
        members = {member.strip() for member in answer.headers["vary"].split(",")}
        assert "Authorization" in members


@pytest.mark.usefixtures("quiet")
def test_what_flask_adds_to_a_refusal_is_kept(wrap):
    app = flask_app()

    @app.after_request
    def mark(response):
        response.headers["X-Mark"] = "1"
        return response

    answer = ask(wrap(app), "/sync")
    check_problem(answer, *MISSING)
    assert answer.headers["x-mark"] == "1"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("framework", MAKERS)
def test_two_middlewares_are_as_good_as_one(wrap, machine, narrow, framework):
    app = wrap(wrap(MAKERS[framework](), "framework"), "whole")
    assert ask(app, "/projects/2/x", machine).status == 200
    check_problem(ask(app, "/projects/3/x", machine), *PROJECT)
    check_problem(ask(app, "/humans", narrow), *KIND)
    check_problem(ask(app, "/humans"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_middleware_on_one_mount_or_route(service, machine):
    ours = [Middleware(asgi_face.KeyAuthMiddleware, keys=service)]
    app = Starlette(
        routes=[
            Route("/open", starlette_open),
            Route("/route", starlette_async, middleware=ours),
            Mount("/mount", routes=[Route("/in", starlette_async)], middleware=ours),
        ]
    )
    for path in ("/route", "/mount/in"):
        assert ask(app, path, machine).body == b"machine"
        check_problem(ask(app, path), *MISSING)
    assert "vary" not in ask(app, "/open").headers


@pytest.mark.usefixtures("quiet")
def test_a_view_may_catch_the_refusal_of_another(wrap, machine):
    """What the app answers after it has dealt with a refusal is the app's answer."""

    async def either(request):
        try:
            return await starlette_humans(request)
        except StarletteHTTPException:
            return PlainTextResponse("something for machines")

    app = wrap(Starlette(routes=[Route("/", either)]))
    assert ask(app, "/", machine).body == b"something for machines"


@pytest.mark.usefixtures("quiet")
def test_a_stream_may_go_on_after_a_refusal_it_has_caught(wrap, machine):
    async def view(request):
        async def parts():
            yield "one "
            try:
                await starlette_humans(request)
            except StarletteHTTPException:
                yield "none "
            yield "two"

        return StreamingResponse(parts())

    app = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(app, "/", machine).body == b"one none two"


# ---- the users' own handlers ------------------------------------------------------------------


def restyle(request, error):
    return JSONResponse(
        {"oops": error.detail}, status_code=error.status_code, headers=error.headers
    )


async def restyle_async(request, error):
    return restyle(request, error)


STYLES = {
    "class": {StarletteHTTPException: restyle},
    "class-async": {StarletteHTTPException: restyle_async},
    "status": {401: restyle, 403: restyle_async},
    "both": {401: restyle, StarletteHTTPException: restyle},
}


def check_restyled(answer, status, detail):
    assert answer.status == status
    assert json.loads(answer.body) == {"oops": detail}
    assert answer.headers["www-authenticate"].startswith('Bearer realm="keymw"')
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Authorization"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
@pytest.mark.parametrize("style", STYLES)
def test_exception_handlers_restyle(wrap, machine, framework, style, place):
    app = wrap(MAKERS[framework](exception_handlers=STYLES[style]), place)
    check_restyled(ask(app, "/humans"), 401, MISSING[2])
    check_restyled(ask(app, "/humans", machine), 403, KIND[2])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_handler_for_fastapis_own_exception_restyles(wrap, machine, place):
    app = fastapi_app()
    app.add_exception_handler(HTTPException, restyle)
    app = wrap(app, place)
    check_restyled(ask(app, "/humans"), 401, MISSING[2])
    check_restyled(ask(app, "/humans", machine), 403, KIND[2])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_handler_for_one_status_leaves_the_others(wrap, machine, place):
    app = wrap(starlette_app(exception_handlers={403: restyle}), place)
    check_problem(ask(app, "/humans"), *MISSING)
    check_restyled(ask(app, "/humans", machine), 403, KIND[2])


@pytest.mark.usefixtures("quiet")
def test_a_handler_for_something_else_changes_nothing(wrap, machine):
    app = wrap(starlette_app(exception_handlers={404: restyle, KeyError: restyle, 500: restyle}))
    check_problem(ask(app, "/humans"), *MISSING)
    check_problem(ask(app, "/humans", machine), *KIND)


@pytest.mark.usefixtures("quiet")
def test_a_mounted_apps_handlers_count_inside_of_it(wrap):
    styled = Starlette(routes=[Route("/in", starlette_async)], exception_handlers={401: restyle})
    plain = Starlette(routes=[Route("/in", starlette_async)])
    app = Starlette(
        routes=[Mount("/styled", styled), Mount("/plain", plain)],
    )
    app = wrap(app)
    check_restyled(ask(app, "/styled/in"), 401, MISSING[2])
    check_problem(ask(app, "/plain/in"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_a_wrapped_default_handler_is_the_users_own(wrap):
    """Tracing and logging tools wrap handlers; what they make of the answer is wanted."""
    from fastapi.exception_handlers import http_exception_handler

    @functools.wraps(http_exception_handler)
    async def traced(request, error):
        response = await http_exception_handler(request, error)
        response.headers["X-Trace"] = "1"
        return response

    app = fastapi_app()
    app.add_exception_handler(StarletteHTTPException, traced)
    assert ask(wrap(app), "/humans").headers["x-trace"] == "1"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "which", [(401, 403), (WerkzeugHTTPException,), (Unauthorized, Forbidden)], ids=str
)
@pytest.mark.parametrize("blueprint", [False, True])
def test_flasks_error_handlers_restyle(wrap, narrow, which, place, blueprint):
    app, part = Flask(__name__), Blueprint("part", __name__)

    @part.get("/sync")
    @guard
    def view():
        return who()

    def handler(error):
        response = error.get_response()
        response.data = json.dumps({"oops": error.description})
        response.content_type = "application/json"
        return response

    for kind in which:
        (part if blueprint else app).register_error_handler(kind, handler)
    app.register_blueprint(part)
    app = wrap(app, place)
    check_restyled(ask(app, "/sync"), 401, MISSING[2])
    check_restyled(ask(app, "/sync", narrow), 403, NARROW[2])


@pytest.mark.usefixtures("quiet")
def test_a_flask_handler_for_one_status_leaves_the_others(wrap, narrow):
    app = flask_app()
    app.register_error_handler(403, lambda error: ("mine", 403))
    app = wrap(app)
    check_problem(ask(app, "/sync"), *MISSING)
    assert ask(app, "/sync", narrow).body == b"mine"


@pytest.mark.usefixtures("quiet")
def test_what_flask_shows_of_a_refusal(wrap, narrow):
    app, seen = flask_app(), []

    @app.errorhandler(WerkzeugHTTPException)
    def handler(error):
        seen.append((error.code, error.name, error.description))
        return error

    app = wrap(app)
    check_problem(ask(app, "/sync"), *MISSING)
    check_problem(ask(app, "/sync", narrow), *NARROW)
    assert seen == [(401, "Unauthorized", MISSING[2]), (403, "Forbidden", NARROW[2])]


# ---- mistakes ---------------------------------------------------------------------------------


def one_error(caplog):
    (entry,) = [entry for entry in caplog.records if entry.name == "keymw"]
    assert entry.levelno == logging.ERROR
    assert "KeyAuthMiddleware" in entry.getMessage()
    assert "require_scopes" in entry.getMessage()
    return entry.getMessage()


@pytest.mark.parametrize(("framework", "path"), PATHS, ids=IDS)
def test_no_middleware_is_500_and_one_clear_line(framework, path, machine, caplog):
    app = MAKERS[framework]()
    if framework == "flask":
        assert ask(app, path, machine).status == 500
    else:
        client = TestClient(app, raise_server_exceptions=False)
        got = client.get(path, headers={"Authorization": f"Bearer {machine}"})
        assert got.status_code == 500
        assert "machine" not in got.text
    one_error(caplog)
    assert machine not in caplog.text


@pytest.mark.parametrize(("framework", "path"), WS_PATHS)
def test_a_websocket_without_middleware_is_not_accepted(framework, path, machine, caplog):
    with pytest.raises(MiddlewareMissing):
        connect(MAKERS[framework](), path, machine)
    one_error(caplog)


@pytest.mark.usefixtures("keys")
def test_a_guarded_function_outside_of_any_request(caplog):
    with pytest.raises(MiddlewareMissing):
        guard(lambda: None)()
    assert "lambda" in one_error(caplog)


async def call_asgi(app, path, token=None):
    """Call an ASGI app as a server would, with a connection of its own."""
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("inner", 80),
        "headers": headers,
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    error = None
    try:
        await app(scope, receive, send)
    except MiddlewareMissing as missing:
        error = missing
    status = sent[0]["status"] if sent else 500
    assert error is not None or status == 500
    return status


INNER = [
    ("starlette", "/async"),
    ("starlette", "/sync"),
    ("starlette", "/class"),
    ("starlette", "/methods"),
    ("starlette", "/callable"),
    ("starlette", "/raw/in"),
    ("starlette", "/guarded-app/in"),
    ("fastapi", "/async"),
    ("fastapi", "/sync"),
    ("fastapi", "/request"),
    ("fastapi", "/dependency"),
    ("fastapi", "/stacked"),
    ("fastapi", "/above"),
    ("fastapi", "/generator"),
]


@pytest.mark.parametrize(("framework", "path"), INNER)
def test_an_outer_requests_key_opens_no_unwrapped_app(wrap, machine, framework, path, caplog):
    inner = MAKERS[framework]()

    async def view(request):
        assert who() == "machine"
        return PlainTextResponse(str(await call_asgi(inner, path, machine)))

    outer = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(outer, "/", machine).body == b"500"
    one_error(caplog)


def test_an_outer_requests_key_opens_no_bare_asgi_app(wrap, machine, caplog):
    async def view(request):
        return PlainTextResponse(str(await call_asgi(raw_asgi, "/", machine)))

    outer = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(outer, "/", machine).body == b"500"
    one_error(caplog)


@pytest.mark.parametrize("path", ["/sync", "/async", "/Methods", "/Whole", "/generator"])
def test_an_outer_flask_requests_key_opens_no_unwrapped_flask(wrap, machine, path, caplog):
    inner, outer = flask_app(), Flask("outer")

    @outer.get("/")
    def view():
        assert who() == "machine"
        return str(ask(inner, path, machine).status)

    assert ask(wrap(outer), "/", machine).body == b"500"
    one_error(caplog)


def test_an_outer_wsgi_requests_key_opens_no_bare_wsgi_app(wrap, machine, keys, caplog):
    @guard
    def bare(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"opened"]

    outer = Flask("outer")

    @outer.get("/")
    def view():
        try:
            return Client(bare, Response).get("/").get_data()
        except MiddlewareMissing:
            return "refused"

    assert ask(wrap(outer), "/", machine).body == b"refused"
    one_error(caplog)


@pytest.mark.filterwarnings("ignore:async_to_sync was passed")
def test_a_flask_app_under_the_asgi_face_never_opens_without_a_key(service):
    """By an adapter from WSGI to ASGI; the WSGI face is the one for Flask."""
    from asgiref.wsgi import WsgiToAsgi

    app = asgi_face.KeyAuthMiddleware(WsgiToAsgi(flask_app()), service)
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/sync").status_code in (401, 500)
    assert client.get("/open").text == "nobody"


BAD_DEMANDS = [
    (("endpoint",), {}),
    (("endpoint:admin",), {}),
    (("Endpoint:read",), {}),
    (("endpoint:read ",), {}),
    (("endpoint:read,flag:read",), {}),
    (("",), {}),
    (("*",), {}),
    (("endpoint:read", "*"), {}),
    ((None,), {}),
    ((5,), {}),
    ((["endpoint:read"],), {}),
    (("endpoint:read",), {"kinds": ["robot"]}),
    (("endpoint:read",), {"kinds": "robot"}),
    (("endpoint:read",), {"kinds": [None]}),
    (("endpoint:read",), {"kinds": ["PERSONAL"]}),
    (("endpoint:read",), {"kinds": []}),
    (("endpoint:read",), {"kinds": ()}),
    (("endpoint:read",), {"kinds": ""}),
    (("endpoint:read",), {"project": ""}),
    (("endpoint:read",), {"project": 2}),
]


@pytest.mark.parametrize(("scopes", "options"), BAD_DEMANDS)
def test_a_malformed_demand_fails_when_the_module_is_imported(scopes, options):
    with pytest.raises((InvalidInput, TypeError)) as caught:
        require_scopes(*scopes, **options)
    assert str(caught.value)


@pytest.mark.parametrize("kinds", [None, 5])
def test_kinds_that_are_no_kinds_at_all(kinds):
    with pytest.raises((TypeError, ValueError)):
        require_scopes("endpoint:read", kinds=kinds)


@pytest.mark.parametrize("scope", ["endpoint:admin", "*"])
def test_the_message_names_what_is_wrong(scope):
    with pytest.raises(ValueError, match="scope") as caught:
        require_scopes(scope)
    assert repr(scope) in str(caught.value)


def test_missing_parentheses():
    with pytest.raises(TypeError, match="require_scopes"):

        @require_scopes
        async def view(request):
            raise AssertionError("reached")

    with pytest.raises(TypeError, match="require_scopes"):

        @require_scopes
        class _Endpoint(HTTPEndpoint):
            pass


@pytest.mark.parametrize("thing", [5, None, "view", object(), [], Item, dict, KeyKind])
def test_what_is_no_view_is_not_decorated(thing):
    with pytest.raises(TypeError):
        guard(thing)


@pytest.mark.parametrize("kinds", ["personal", KeyKind.PERSONAL, ["personal"], {"personal"}])
def test_a_kind_may_be_given_by_itself(wrap, machine, person, kinds):
    @require_scopes("endpoint:read", kinds=kinds)
    async def view(request):
        return PlainTextResponse(who())

    app = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(app, "/", person).status == 200
    check_problem(ask(app, "/", machine), *KIND)


def test_no_scopes_takes_any_key_of_the_kinds(wrap, keys, machine):
    empty = keys.issue_personal_key("ann", "empty", []).token

    @require_scopes()
    async def view(request):
        return PlainTextResponse(who())

    app = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(app, "/", empty).body == b"ann"
    check_problem(ask(app, "/", machine), *KIND)
    check_problem(ask(app, "/"), *MISSING)


def test_all_of_the_scopes_are_asked(wrap, keys):
    @require_scopes("a:read", "b:read", "b:write", kinds=KINDS)
    async def view(request):
        return PlainTextResponse("in")

    app = wrap(Starlette(routes=[Route("/", view)]))
    for number, (scopes, missing) in enumerate(
        [
            (["a:read"], "b:read"),
            (["b:write"], "a:read"),
            (["a:read", "b:read"], "b:write"),
            (["a:write", "b:read"], "b:write"),
            (["a:read", "b:write"], None),
            (["a:write", "b:write", "c:read"], None),
        ]
    ):
        token = keys.issue_project_key("2", f"key {number}", scopes).token
        answer = ask(app, "/", token)
        if missing is None:
            assert answer.body == b"in"
            continue
        assert answer.status == 403
        assert answer.problem["detail"] == f"API key missing required scope '{missing}'."
        challenge = answer.headers["www-authenticate"]
        assert challenge.endswith('error="insufficient_scope", scope="a:read b:read b:write"')


# ---- Starlette's own `requires` ---------------------------------------------------------------


@requires("endpoint:read")
async def starlette_read(request):
    return PlainTextResponse("in")


@requires("endpoint:write")
def starlette_write(request):
    return PlainTextResponse("in")


@requires("authenticated")
async def starlette_authenticated(request):
    return PlainTextResponse(request.user.display_name)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("kind", "scopes", "read", "write"),
    [
        (None, [], 403, 403),
        ("project_secret", [], 403, 403),
        ("project_secret", ["endpoint:read"], 200, 403),
        ("project_secret", ["endpoint:write"], 200, 200),
        ("project_secret", ["other:write"], 403, 403),
        ("personal", ["endpoint:write"], 200, 200),
        ("personal", ["*"], 200, 200),
    ],
)
def test_starlettes_requires(wrap, keys, kind, scopes, read, write, place):
    token = None
    if kind == "personal":
        token = keys.issue_personal_key("ann", "a", scopes).token
    elif kind is not None:
        token = keys.issue_project_key("2", "a", scopes).token
    app = Starlette(
        routes=[
            Route("/read", starlette_read),
            Route("/write", starlette_write),
            Route("/authenticated", starlette_authenticated),
        ]
    )
    app = wrap(app, place)
    assert ask(app, "/read", token).status == read
    assert ask(app, "/write", token).status == write
    assert ask(app, "/authenticated", token).status == (403 if token is None else 200)


def test_a_catalog_narrows_requires_too(keys, sqlite_url):
    token = keys.issue_project_key("2", "a", ["endpoint:read", "flag:read"]).token
    catalog = ScopeCatalog({"endpoint": ("read",), "flag": ("read",)}, ["flag:read"])
    narrowed = AsyncKeyService(sqlite_url, catalog=catalog)
    app = Starlette(routes=[Route("/read", starlette_read), Route("/async", starlette_async)])
    app = asgi_face.KeyAuthMiddleware(app, narrowed)
    assert ask(app, "/read", token).status == 403
    check_problem(ask(app, "/async", token), *NARROW)


# ---- what is not ours -------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize("error", [StarletteHTTPException, ValueError])
def test_the_apps_own_exceptions_are_untouched(wrap, machine, framework, place, error):
    class Teapot(Exception):  # noqa: N818
        pass

    if framework == "flask":
        app = Flask(__name__)
        app.config["PROPAGATE_EXCEPTIONS"] = True

        @app.get("/")
        @guard
        def view():
            raise Teapot

    else:

        async def boom(request: Request):
            raise Teapot

        app = Starlette() if framework == "starlette" else FastAPI()
        app.add_route("/", guard(boom))
    with pytest.raises(Teapot):
        ask(wrap(app, place), "/", machine)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_the_apps_own_http_exceptions_keep_their_form(wrap, machine, place):
    app = FastAPI()

    @app.get("/")
    @guard
    async def view():
        raise HTTPException(403, {"mine": True}, headers={"X-Mine": "1"})

    answer = ask(wrap(app, place), "/", machine)
    assert answer.status == 403
    assert json.loads(answer.body) == {"detail": {"mine": True}}
    assert answer.headers["x-mine"] == "1"
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_an_outage_is_the_same_everywhere(wrap, machine, framework, place, monkeypatch):
    async def find(self, digest):
        raise StoreUnavailable("The database cannot answer: it is on fire.")

    monkeypatch.setattr(SqlStore, "find", find)
    app = wrap(MAKERS[framework](), place)
    for path in ("/open", "/humans"):
        answer = ask(app, path, machine)
        assert answer.status == 503
        assert answer.problem["code"] == "temporarily_unavailable"
        assert answer.headers["retry-after"] == "1"
        assert "www-authenticate" not in answer.headers
