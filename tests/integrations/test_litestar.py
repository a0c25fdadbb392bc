"""Litestar: guards on every layer, decorated functions, WebSockets, and the OpenAPI document."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import re
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import litestar
import pytest
from litestar import Controller, Litestar, Request, Response, Router, WebSocket, asgi, get, post
from litestar.background_tasks import BackgroundTask
from litestar.config.cors import CORSConfig
from litestar.exceptions import (
    HTTPException,
    ImproperlyConfiguredException,
    NotAuthorizedException,
    PermissionDeniedException,
)
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath, FromQuery  # noqa: TC002 - Litestar reads them
from litestar.response import Stream
from litestar.types import Receive, Scope, Send  # noqa: TC002 - Litestar reads them
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from decorators.asking import (
    INVALID,
    KIND,
    MISSING,
    NARROW,
    PROJECT,
    UNRECOGNIZED,
    Answer,
    Asking,
    check_problem,
    connect,
    without_denial,
)
from keymw import AsyncKeyService, InvalidInput, current_principal, require_scopes
from keymw.asgi import KeyAuthMiddleware
from keymw.errors import AccessDenied, MiddlewareMissing
from keymw.integrations.litestar import KeyDocs, demands_on, key_guard
from keymw.tokens import generate

#: Another framework in the process, of which this module has no name.
importlib.import_module("fastapi")

BOTH = ["project_secret", "personal"]
takes = {"kinds": BOTH}
in_project = {"kinds": BOTH, "project": "project_id"}
guard = key_guard("endpoint:read", **takes)
demand = require_scopes("endpoint:read", **takes)
guard_project = key_guard("endpoint:read", **in_project)
demand_project = require_scopes("endpoint:read", **in_project)


def who() -> str:
    return current_principal().display_name or "nobody"


@get("/guarded", guards=[guard])
async def guarded() -> str:
    return who()


@get("/guarded-thread", guards=[guard], sync_to_thread=True)
def guarded_thread() -> str:
    return who()


@get("/decorated")
@demand
async def decorated() -> str:
    return who()


@get("/decorated-thread", sync_to_thread=True)
@demand
def decorated_thread() -> str:
    return who()


@get("/decorated-sync", sync_to_thread=False)
@demand
def decorated_sync(name: FromQuery[str] = "") -> str:
    return who() + name


@get("/decorated-request")
@demand
async def decorated_request(request: Request[Any, Any, Any]) -> str:
    return request.user.display_name + str(request.auth.scopes)


@demand
@get("/above")
async def above() -> str:
    return who()


class Guarded(Controller):
    path = "/controller"
    guards = (guard,)

    @get()
    async def show(self) -> str:
        return who()


class Decorated(Controller):
    path = "/methods"

    @get("/inside")
    @demand
    async def inside(self) -> str:
        return who()

    @demand
    @get("/above", sync_to_thread=False)
    def above(self) -> str:
        return who()


@get("/in")
async def inner() -> str:
    return who()


@get("/humans", guards=[key_guard("endpoint:read")])
async def humans() -> str:
    return who()


@get("/open")
async def anybody() -> str:
    return who()


@get("/p/{project_id:str}/guarded", guards=[guard_project])
async def project_guarded() -> str:
    return who()


@get("/p/{project_id:str}/decorated")
@demand_project
async def project_decorated() -> str:
    return who()


@get("/number/{project_id:int}", guards=[guard_project])
async def project_number(project_id: FromPath[int]) -> str:
    return str(project_id)


@get(["/nowhere", "/nowhere/{other:str}"], guards=[guard_project])
async def no_project() -> str:
    raise AssertionError("reached")


@litestar.websocket("/ws", guards=[guard])
async def ws(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text(socket.user.display_name)
    await socket.close()


@litestar.websocket("/ws-decorated/{project_id:str}")
@demand_project
async def ws_decorated(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text(who())
    await socket.close()


@litestar.websocket_listener("/ws-listener", guards=[guard])
async def ws_listener(data: str) -> str:
    return data + who()


@litestar.websocket("/ws-late")
async def ws_late(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()

    @require_scopes("other:read", kinds=BOTH)
    async def later() -> None:
        raise AssertionError("reached")

    await later()


VIEWS = [
    *("/guarded", "/guarded-thread", "/decorated", "/decorated-thread", "/decorated-sync"),
    *("/decorated-request", "/above", "/controller", "/methods/inside", "/methods/above"),
    "/router/in",
]
HANDLERS = [
    *(guarded, guarded_thread, decorated, decorated_thread, decorated_sync, decorated_request),
    *(above, Guarded, Decorated, Router("/router", guards=[guard], route_handlers=[inner])),
    *(humans, anybody, project_guarded, project_decorated, project_number, no_project),
    *(ws, ws_decorated, ws_listener, ws_late),
]
WHOLE, LISTED = "whole", "listed"


def make(handlers=(), **options):
    return Litestar([*(handlers or HANDLERS)], logging_config=None, **options)


@pytest.fixture
def service(keys, sqlite_url):
    return AsyncKeyService(sqlite_url)


@pytest.fixture
def wrap(service):
    """Return what puts the middleware around a new app, or into it."""

    def wrap(handlers=(), place=WHOLE, **options):
        if place == WHOLE:
            return KeyAuthMiddleware(make(handlers, **options), service)
        listed = DefineMiddleware(KeyAuthMiddleware, keys=service)
        return make(handlers, middleware=[listed], on_shutdown=[service.aclose], **options)

    return wrap


@pytest.fixture
def ask():
    with contextlib.closing(Asking()) as ask:
        yield ask


@pytest.fixture
def tokens(keys):
    return SimpleNamespace(
        machine=keys.issue_project_key("2", "machine", ["endpoint:read"]).token,
        person=keys.issue_personal_key("user-7", "laptop", ["endpoint:read"]).token,
        narrow=keys.issue_project_key("2", "narrow", ["flag:write"]).token,
    )


@pytest.fixture
def quiet(caplog):
    yield
    entries = caplog.get_records("call") + caplog.get_records("teardown")
    assert [entry for entry in entries if entry.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", [WHOLE, LISTED])
def test_every_form_of_handler(ask, wrap, tokens, place):
    app = wrap(place=place)
    for path in VIEWS:
        check_problem(ask(app, path), *MISSING)
        check_problem(ask(app, path, "dTpw", scheme="Basic"), *MISSING)
        check_problem(ask(app, path, "not.ours"), *UNRECOGNIZED)
        check_problem(ask(app, path, generate("phs_")), *INVALID)
        check_problem(ask(app, path, tokens.narrow), *NARROW)
        assert ask(app, path, "a b").status == 400
        for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
            answer = ask(app, path, token)
            assert (answer.status, answer.headers["vary"]) == (200, "Authorization"), path
            assert answer.body.decode().startswith(name)
    check_problem(ask(app, "/humans", tokens.machine), *KIND)
    assert ask(app, "/humans", tokens.person).body == b"user-7"
    for token, name in ((None, b"nobody"), ("not.ours", b"nobody"), (tokens.machine, b"machine")):
        assert ask(app, "/open", token).body == name
    check_problem(ask(app, "/open", generate("phs_")), *INVALID)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", [WHOLE, LISTED])
def test_the_project_in_the_path_is_the_keys(ask, wrap, tokens, place):
    app = wrap(place=place)
    for path in ("/p/{}/guarded", "/p/{}/decorated", "/number/{}"):
        assert ask(app, path.format("2"), tokens.machine).status == 200
        check_problem(ask(app, path.format("3") + "?project_id=2", tokens.machine), *PROJECT)
    for path in ("/p/{}/guarded", "/p/{}/decorated"):
        for other in ("02", "%EF%BC%92", "2%20", "%32%32", "2%00", "-2"):
            check_problem(ask(app, path.format(other), tokens.machine), *PROJECT)
    for path in ("/nowhere", "/nowhere/2", "/nowhere?project_id=2"):
        check_problem(ask(app, path, tokens.machine), *PROJECT)
        check_problem(ask(app, path, tokens.person), *PROJECT)


@pytest.mark.usefixtures("quiet")
def test_what_a_client_sends_is_no_request(ask, wrap, tokens):
    """Neither by the names of parameters nor in the place of the one that FastAPI is shown."""
    app = wrap()
    for name in ("keymw_connection_0", "request", "scope", "socket", "connection"):
        check_problem(ask(app, f"/decorated-sync?{name}=1&name=x"), *MISSING)
        answer = ask(app, f"/decorated-sync?{name}=1&name=x", tokens.machine)
        assert answer.body == b"machinex"


def restyle(request, error):
    return Response({"oops": error.detail}, status_code=error.status_code, headers=error.headers)


STYLES = {
    "statuses": {401: restyle, 403: restyle},
    "litestars": {NotAuthorizedException: restyle, PermissionDeniedException: restyle},
    "any": {HTTPException: restyle},
    "keymws": {AccessDenied: restyle},
}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", [WHOLE, LISTED])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layer", ["app", "handler"])
def test_exception_handlers_restyle(ask, wrap, tokens, place, style, layer):
    handlers = STYLES[style]

    @get("/in", guards=[guard], exception_handlers=handlers if layer == "handler" else None)
    async def view() -> str:
        return who()

    app = wrap([view], place, exception_handlers=handlers if layer == "app" else None)
    for token, (status, _, detail, *_) in ((None, MISSING), (tokens.narrow, NARROW)):
        answer = ask(app, "/in", token)
        assert (answer.status, json.loads(answer.body)) == (status, {"oops": detail})
        assert answer.headers["www-authenticate"].startswith('Bearer realm="keymw"')
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["vary"] == "Authorization"
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.usefixtures("quiet")
def test_a_handler_for_something_else_changes_nothing(ask, wrap, tokens):
    app = wrap(exception_handlers={403: restyle, 404: restyle, 500: restyle, KeyError: restyle})
    check_problem(ask(app, "/guarded"), *MISSING)
    assert json.loads(ask(app, "/guarded", tokens.narrow).body) == {"oops": NARROW[2]}
    assert json.loads(ask(app, "/nothing").body) == {"oops": "Not Found"}


@pytest.mark.usefixtures("quiet")
def test_a_refusal_is_given_from_inside_the_app(ask, wrap):
    seen = []

    async def after_exception(error, scope):
        seen.append((type(error).__name__, error.status_code, error.detail))

    cors = CORSConfig(allow_origins=["https://a.example"])
    app = wrap(after_exception=[after_exception], cors_config=cors)
    answer = ask(app, "/guarded", headers={"Origin": "https://a.example"})
    assert answer.problem["code"] == "not_authenticated"
    assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert seen == [("UnauthorizedRefusal", 401, MISSING[2])]
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    assert ask(app, "/guarded", method="OPTIONS", headers=preflight).status == 204


@pytest.mark.usefixtures("quiet")
def test_head_where_a_handler_takes_it(ask, wrap, tokens):
    @litestar.route("/both", http_method=["GET", "HEAD"], guards=[guard])
    async def both() -> str:
        return who()

    app = wrap([both])
    for token, status in ((None, 401), (tokens.narrow, 403), (tokens.machine, 200)):
        whole = ask(app, "/both", token)
        answer = ask(app, "/both", token, method="HEAD")
        assert (answer.status, answer.body) == (status, b"")
        assert answer.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", [WHOLE, LISTED])
def test_websockets(wrap, tokens, place):
    app = wrap(place=place)
    for path in ("/ws", "/ws-decorated/2"):
        assert connect(app, path, tokens.machine) == "machine"
        assert connect(without_denial(app), path, tokens.person) == "user-7"
        refused = [(None, MISSING), ("not.ours", UNRECOGNIZED), (tokens.narrow, NARROW)]
        for token, expected in refused:
            check_denied(app, path, token, expected)
    check_denied(app, "/ws-listener", None, MISSING)
    check_denied(app, "/ws-decorated/3", tokens.machine, PROJECT)


def check_denied(app, path, token, expected):
    with pytest.raises(WebSocketDenialResponse) as denial:
        connect(app, path, token)
    got = denial.value
    check_problem(Answer(got.status_code, got.headers.items(), got.content), *expected)
    with pytest.raises(WebSocketDisconnect) as closed:
        connect(without_denial(app), path, token)
    assert closed.value.code == 1008


@pytest.mark.usefixtures("quiet")
def test_an_accepted_websocket_is_closed_and_its_key_serves_on(ask, wrap, tokens):
    app = wrap()
    for server in (app, without_denial(app)):
        with pytest.raises(WebSocketDisconnect) as closed:
            connect(server, "/ws-late", tokens.machine)
        assert closed.value.code == 1008
    check_problem(ask(app, "/p/3/guarded", tokens.machine), *PROJECT)
    assert ask(app, "/guarded", tokens.machine).body == b"machine"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", [WHOLE, LISTED])
def test_streams_and_background_work_know_whose_they_are(ask, wrap, tokens, place):
    seen = []

    async def later(name: str) -> None:
        seen.append((name, who()))

    def in_thread(name: str) -> None:
        seen.append((name, who()))

    @get("/stream", guards=[guard])
    async def stream() -> Stream:
        return Stream((f"{who()}\n" for _ in range(2)), background=BackgroundTask(later, "a"))

    @post("/work", guards=[guard])
    async def work() -> Response[None]:
        return Response(None, background=BackgroundTask(in_thread, "b"))

    app = wrap([stream, work, anybody], place)
    assert ask(app, "/stream", tokens.machine).body == b"machine\nmachine\n"
    assert ask(app, "/work", tokens.person, method="POST").status == 201
    assert seen == [("a", "machine"), ("b", "user-7")]
    assert ask(app, "/open").body == b"nobody"


def test_a_cached_answer_is_nobody_elses(ask, wrap, tokens, caplog):
    @get("/guarded", guards=[guard], cache=True)
    async def cached() -> str:
        return "answer"

    @get("/decorated", cache=True)
    @demand
    async def hidden() -> str:
        raise AssertionError("reached")

    @demand
    @get("/above", cache=True)
    async def raised() -> str:
        return "answer"

    app = wrap([cached, hidden, raised])
    for path in ("/guarded", "/above"):
        for _ in range(2):
            assert ask(app, path, tokens.machine).body == b"answer"
            check_problem(ask(app, path), *MISSING)
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []
    for token in (tokens.machine, None):
        assert ask(app, "/decorated", token).status == 500
        errors = [entry for entry in caplog.records if entry.name == "keymw"]
        assert "use guards=[key_guard(...)]" in errors[-1].getMessage()


def test_without_the_middleware_nobody_gets_in(ask, tokens):
    app = make()
    for path in VIEWS:
        for token in (None, tokens.machine):
            assert ask(app, path, token).status == 500
    with pytest.raises(WebSocketDisconnect):
        connect(app, "/ws", tokens.machine)


async def test_what_is_raised_without_the_middleware():
    scope = {"type": "http", "path_params": {}}
    with pytest.raises(MiddlewareMissing, match="guarded"):
        await guard(Request(scope), guarded)
    with pytest.raises(MiddlewareMissing, match="decorated"):
        await decorated.fn()


@pytest.mark.usefixtures("quiet")
def test_an_app_that_litestar_mounts_answers_for_itself(ask, wrap, tokens):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    @demand
    async def view(request):
        return PlainTextResponse(who())

    inner_app = Starlette(routes=[Route("/in/", view)])  # as Litestar has it

    @asgi("/mounted", is_mount=True, copy_scope=True)
    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        await inner_app(scope, receive, send)

    app = wrap([mounted])
    check_problem(ask(app, "/mounted/in"), *MISSING)
    check_problem(ask(app, "/mounted/in", tokens.narrow), *NARROW)
    assert ask(app, "/mounted/in", tokens.machine).body == b"machine"


def test_mistakes_show_when_the_app_is_made():
    for wrong in ({"kinds": ["robot"]}, {"project": ""}):
        with pytest.raises(InvalidInput):
            key_guard("endpoint:read", **wrong)
    with pytest.raises(InvalidInput):
        key_guard("endpoint")


def test_what_handlers_demand():
    app = make()
    found = {}
    for route in app.routes:
        handlers = route.route_handlers if hasattr(route, "route_handlers") else []
        for handler in handlers:
            if "GET" in handler.http_methods:
                found[route.path] = [sorted(each.needed) for each in demands_on(handler)]
    for path in VIEWS:
        assert found[path] == [["endpoint:read"]], path
    assert found["/open"] == []


def test_the_openapi_document():
    @get("/two/{project_id:str}", guards=[guard_project])
    @require_scopes("flag:write")
    async def two(project_id: FromPath[str]) -> str:
        return who()

    app = make([two, anybody], plugins=[KeyDocs("keys")])
    document = app.openapi_schema.to_schema()
    assert document["components"]["securitySchemes"]["keys"]["scheme"] == "bearer"
    operation = document["paths"]["/two/{project_id}"]["get"]
    assert operation["security"] == [{"keys": ["endpoint:read", "flag:write"]}]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["project_id"]
    for status in ("401", "403", "503"):
        content = operation["responses"][status]["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
    said = operation["responses"]["403"]["description"]
    assert said == "Takes personal API keys with endpoint:read, flag:write."
    problem = document["components"]["schemas"]["Problem"]
    assert problem["required"] == ["code", "detail", "status", "title", "type"]
    unguarded = document["paths"]["/open"]["get"]
    assert "security" not in unguarded
    assert "401" not in unguarded["responses"]


def test_a_document_keeps_what_the_app_says():
    from litestar.openapi import ResponseSpec
    from litestar.openapi.config import OpenAPIConfig

    @get("/a", guards=[guard], responses={401: ResponseSpec(dict[str, str], description="Mine.")})
    async def view() -> str:
        return who()

    config = OpenAPIConfig("Orders", "2")
    document = make([view], plugins=[KeyDocs()], openapi_config=config).openapi_schema.to_schema()
    assert document["info"]["title"] == "Orders"
    assert document["paths"]["/a"]["get"]["responses"]["401"]["description"] == "Mine."
    assert len(make([view], plugins=[KeyDocs()], openapi_config=None).routes) == 1


def test_a_function_in_a_module_with_fastapi_too_is_refused_when_the_app_is_made():
    namespace: dict[str, Any] = {"__name__": __name__}
    code = "import fastapi\nfrom keymw import require_scopes\n"
    code += "@require_scopes('a:read')\nasync def view() -> str: ...\n"
    exec(code, namespace)
    with pytest.raises(ImproperlyConfiguredException, match="keymw_connection"):
        make([get("/")(namespace["view"])])


@pytest.mark.usefixtures("from_env")
def test_the_page_runs_as_it_stands(keys, ask, monkeypatch):
    """`docs/litestar-falcon.md`, its three Python blocks in a module each."""
    page = Path(__file__).parents[2] / "docs" / "litestar-falcon.md"
    around, listed, falcons = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    person = keys.issue_personal_key("user-7", "laptop", ["report:write"]).token
    machine = keys.issue_project_key("2", "nightly", ["report:read"]).token
    for name, code in (("page", around), ("page", f"{around}\n{listed}"), ("page", falcons)):
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)  # Litestar looks for types there
        exec(code, module.__dict__)
        app = getattr(module, "listed", module.app)
        path = "/projects/{}/reports"
        assert b"2, for nightly" in ask(app, path.format(2), machine).body
        assert ask(app, path.format(3), machine).status == 403
        assert ask(app, path.format(2)).status == 401
        assert ask(app, path.format(2), machine, method="POST").status == 403
        assert ask(app, path.format(2), person, method="POST").status == 201
