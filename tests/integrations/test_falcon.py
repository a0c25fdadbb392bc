"""Falcon under WSGI and ASGI: hooks, decorated responders, sinks, WebSockets and error handlers."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
from contextvars import copy_context
from threading import Thread
from types import SimpleNamespace

import falcon
import falcon.asgi
import pytest
from falcon import testing
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from conftest import eventually
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
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face
from keymw.errors import AccessDenied, MiddlewareMissing
from keymw.integrations.falcon import Refusal, SocketRefusal, key_hook
from keymw.tokens import generate

#: Another framework in the process, of which this module has no name.
importlib.import_module("fastapi")

BOTH = ["project_secret", "personal"]
hook = key_hook("endpoint:read", kinds=BOTH)
demand = require_scopes("endpoint:read", kinds=BOTH)
project_hook = key_hook("endpoint:read", kinds=BOTH, project="project_id")
project_demand = require_scopes("endpoint:read", kinds=BOTH, project="project_id")


def who() -> str:
    return current_principal().display_name or "nobody"


class Hooked:
    @falcon.before(hook)
    def on_get(self, req, resp):
        resp.text = who()


@falcon.before(hook)
class HookedClass:
    def on_get(self, req, resp):
        resp.text = who()

    on_head = on_get


class Decorated:
    @demand
    def on_get(self, req, resp):
        resp.text = who()


class Stacked:
    """A hook around a decorated responder, which Falcon calls by position too."""

    @falcon.before(hook)
    @demand
    def on_get(self, req, resp):
        resp.text = who()


class Humans:
    @falcon.before(key_hook("endpoint:read"))
    def on_get(self, req, resp):
        resp.text = who()


class Open:
    def on_get(self, req, resp):
        resp.text = who()


class ProjectHooked:
    @falcon.before(project_hook)
    def on_get(self, req, resp, **path):
        resp.text = who()


class ProjectDecorated:
    @project_demand
    def on_get(self, req, resp, project_id="2"):
        resp.text = who()


@demand
def sink(req, resp, **path):
    resp.text = who()


class AsyncHooked:
    @falcon.before(hook)
    async def on_get(self, req, resp):
        resp.text = who()


@falcon.before(hook)
class AsyncHookedClass:
    async def on_get(self, req, resp):
        resp.text = who()

    on_head = on_get

    async def on_websocket(self, req, ws):
        await greet(ws)


class AsyncDecorated:
    @demand
    async def on_get(self, req, resp):
        resp.text = who()


class AsyncStacked:
    @falcon.before(hook)
    @demand
    async def on_get(self, req, resp):
        resp.text = who()


class AsyncHumans:
    @falcon.before(key_hook("endpoint:read"))
    async def on_get(self, req, resp):
        resp.text = who()


class AsyncOpen:
    async def on_get(self, req, resp):
        resp.text = who()


class AsyncProjectHooked:
    @falcon.before(project_hook)
    async def on_get(self, req, resp, **path):
        resp.text = who()

    @falcon.before(project_hook)
    async def on_websocket(self, req, ws, **path):
        await greet(ws)


class AsyncProjectDecorated:
    @project_demand
    async def on_get(self, req, resp, project_id="2"):
        resp.text = who()

    @project_demand
    async def on_websocket(self, req, ws, project_id="2"):
        await greet(ws)


@demand
async def async_sink(req, resp, ws=None, **path):
    if ws is None:
        resp.text = who()
    else:
        await greet(ws)


class AsyncLate:
    async def on_websocket(self, req, ws):
        await ws.accept()
        await self.later(req, ws)

    @require_scopes("other:read", kinds=BOTH)
    async def later(self, req, ws):
        raise AssertionError("reached")


async def greet(ws):
    await ws.accept()
    await ws.send_text(who())


ROUTES = {
    "/hooked": (Hooked, AsyncHooked),
    "/class": (HookedClass, AsyncHookedClass),
    "/decorated": (Decorated, AsyncDecorated),
    "/stacked": (Stacked, AsyncStacked),
    "/humans": (Humans, AsyncHumans),
    "/open": (Open, AsyncOpen),
    "/p/{project_id}/hooked": (ProjectHooked, AsyncProjectHooked),
    "/p/{project_id}/decorated": (ProjectDecorated, AsyncProjectDecorated),
    "/number/{project_id:int}": (ProjectHooked, AsyncProjectHooked),
    "/nowhere/{other}": (ProjectHooked, AsyncProjectHooked),
    "/nowhere": (ProjectDecorated, AsyncProjectDecorated),
}
VIEWS = ["/hooked", "/class", "/decorated", "/stacked", "/sink/x"]
WSGI, ASGI = "wsgi", "asgi"


def make(flavour, **options):
    app = falcon.asgi.App(**options) if flavour == ASGI else falcon.App(**options)
    for path, flavours in ROUTES.items():
        app.add_route(path, flavours[flavour == ASGI]())
    app.add_sink(async_sink if flavour == ASGI else sink, "/sink/(?P<rest>.*)")
    if flavour == ASGI:
        app.add_route("/late", AsyncLate())
    return app


@pytest.fixture(params=[WSGI, ASGI])
def flavour(request):
    return request.param


@pytest.fixture
def wrap(keys, sqlite_url):
    """Return what puts the middleware around an app."""

    def wrap(app):
        if isinstance(app, falcon.asgi.App):
            return served(asgi_face.KeyAuthMiddleware(app, AsyncKeyService(sqlite_url)))
        return wsgi_face.KeyAuthMiddleware(app, keys)

    return wrap


def served(app):
    """Return the app with the version of ASGI in its scopes, as servers but no test client say."""

    async def serve(scope, receive, send):
        await app({**scope, "asgi": {"version": "3.0"}}, receive, send)

    return serve


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
def test_every_form_of_responder(ask, wrap, tokens, flavour):
    app = wrap(make(flavour))
    for path in VIEWS:
        check_problem(ask(app, path), *MISSING)
        check_problem(ask(app, path, "dTpw", scheme="Basic"), *MISSING)
        check_problem(ask(app, path, "not.ours"), *UNRECOGNIZED)
        check_problem(ask(app, path, generate("phs_")), *INVALID)
        check_problem(ask(app, path, tokens.narrow), *NARROW)
        assert ask(app, path, "a b").status == 400
        for token, name in ((tokens.machine, b"machine"), (tokens.person, b"user-7")):
            answer = ask(app, path, token)
            assert (answer.status, answer.body) == (200, name), path
            assert answer.headers["vary"] == "Authorization"
    check_problem(ask(app, "/humans", tokens.machine), *KIND)
    assert ask(app, "/humans", tokens.person).body == b"user-7"
    for token, name in ((None, b"nobody"), ("not.ours", b"nobody"), (tokens.machine, b"machine")):
        assert ask(app, "/open", token).body == name
    check_problem(ask(app, "/open", generate("phs_")), *INVALID)


@pytest.mark.usefixtures("quiet")
def test_the_project_in_the_path_is_the_keys(ask, wrap, tokens, flavour):
    app = wrap(make(flavour))
    for path in ("/p/{}/hooked", "/p/{}/decorated", "/number/{}"):
        assert ask(app, path.format("2"), tokens.machine).status == 200
        check_problem(ask(app, path.format("3") + "?project_id=2", tokens.machine), *PROJECT)
    for path in ("/p/{}/hooked", "/p/{}/decorated"):
        for other in ("02", "%EF%BC%92", "2%20", "%32%32", "2%00", "-2"):
            check_problem(ask(app, path.format(other), tokens.machine), *PROJECT)
    for path in ("/nowhere", "/nowhere/2", "/nowhere?project_id=2"):
        check_problem(ask(app, path, tokens.machine), *PROJECT)
        check_problem(ask(app, path, tokens.person), *PROJECT)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "accept", ["text/html", "text/xml", "application/x-msgpack", "application/json;q=0", "*/*"]
)
def test_the_answer_is_the_same_whatever_is_accepted(ask, wrap, flavour, accept):
    app = make(flavour)
    app.resp_options.xml_error_serialization = True
    app.resp_options.media_handlers["application/x-msgpack"] = falcon.media.JSONHandler()
    app = wrap(app)
    for path in VIEWS:
        check_problem(ask(app, path, headers={"Accept": accept}), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_head_is_refused_like_get(ask, wrap, tokens, flavour):
    app = wrap(make(flavour))
    for token, status in ((None, 401), (tokens.narrow, 403), (tokens.machine, 200)):
        answer = ask(app, "/class", token, method="HEAD")
        assert (answer.status, answer.body) == (status, b"")
        whole = ask(app, "/class", token)
        assert answer.headers["content-length"] == whole.headers["content-length"]
    assert ask(app, "/hooked", tokens.machine, method="HEAD").status == 405


def restyle(req, resp, error, params, ws=None):
    resp.status = error.status
    resp.set_headers(error.headers)
    resp.media = {"oops": error.description, "code": error.to_dict()["code"]}


async def async_restyle(req, resp, error, params, ws=None):
    restyle(req, resp, error, params)


def check_restyled(answer, expected):
    status, code, detail, *_ = expected
    assert (answer.status, json.loads(answer.body)) == (status, {"oops": detail, "code": code})
    assert answer.headers["www-authenticate"].startswith('Bearer realm="keymw"')
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Authorization"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "kinds",
    [(falcon.HTTPError,), (falcon.HTTPUnauthorized, falcon.HTTPForbidden), (Refusal,)],
    ids=["any", "statuses", "keymws"],
)
def test_error_handlers_restyle(ask, wrap, tokens, flavour, kinds):
    app = make(flavour)
    for kind in kinds:
        app.add_error_handler(kind, async_restyle if flavour == ASGI else restyle)
    app = wrap(app)
    for path in VIEWS:
        check_restyled(ask(app, path), MISSING)
        check_restyled(ask(app, path, tokens.narrow), NARROW)


@pytest.mark.usefixtures("quiet")
def test_a_handler_for_one_status_leaves_the_others(ask, wrap, tokens, flavour):
    app = make(flavour)
    app.add_error_handler(falcon.HTTPForbidden, async_restyle if flavour == ASGI else restyle)
    app = wrap(app)
    check_problem(ask(app, "/hooked"), *MISSING)
    check_restyled(ask(app, "/hooked", tokens.narrow), NARROW)


@pytest.mark.usefixtures("quiet")
def test_an_error_serializer_restyles(ask, wrap, tokens, flavour):
    def serialize(req, resp, error):
        resp.content_type = "application/json"
        resp.data = json.dumps(
            {"oops": error.description, "code": error.to_dict()["code"]}
        ).encode()
        assert json.loads(error.to_json()) == error.to_dict()

    app = make(flavour)
    app.set_error_serializer(serialize)
    app = wrap(app)
    check_restyled(ask(app, "/hooked"), MISSING)
    check_restyled(ask(app, "/decorated", tokens.narrow), NARROW)


@pytest.mark.usefixtures("quiet")
def test_a_handler_that_only_looks_changes_nothing(ask, wrap, flavour):
    seen = []

    def look(req, resp, error, params, ws=None):
        seen.append((error.status_code, error.title, error.description))
        raise error

    async def async_look(req, resp, error, params, ws=None):
        look(req, resp, error, params)

    app = make(flavour)
    app.add_error_handler(falcon.HTTPError, async_look if flavour == ASGI else look)
    # Other clients take an answer that comes from outside the app for a crash of it.
    got = testing.TestClient(wrap(app)).simulate_get("/hooked")
    check_problem(Answer(got.status_code, got.headers.items(), got.content), *MISSING)
    assert seen == [(401, "Unauthorized", MISSING[2])]


@pytest.mark.usefixtures("quiet")
def test_a_refusal_is_given_from_inside_the_app(ask, wrap, flavour):
    app = wrap(make(flavour, cors_enable=True))
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    answer = ask(app, "/hooked", headers={"Origin": "https://a.example"})
    assert answer.problem["code"] == "not_authenticated"
    assert answer.headers["access-control-allow-origin"] == "*"
    preflight = ask(app, "/open", method="OPTIONS", headers=headers)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-methods"] == "GET"


@pytest.mark.usefixtures("quiet")
def test_the_apps_own_errors_keep_their_form(ask, wrap, tokens, flavour):
    class Own:
        @demand
        def on_get(self, req, resp):
            raise falcon.HTTPForbidden(title="No.")

    class AsyncOwn:
        @demand
        async def on_get(self, req, resp):
            raise falcon.HTTPForbidden(title="No.")

    app = make(flavour)
    app.add_route("/own", AsyncOwn() if flavour == ASGI else Own())
    answer = ask(wrap(app), "/own", tokens.machine)
    assert (answer.status, json.loads(answer.body)) == (403, {"title": "No."})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "path", ["/class", "/p/2/hooked", "/p/2/decorated", "/sink/x"], ids=lambda path: path[1:]
)
def test_websockets(wrap, tokens, path):
    app = wrap(make(ASGI))
    assert connect(app, path, tokens.machine) == "machine"
    assert connect(without_denial(app), path, tokens.machine) == "machine"
    refused = [(None, MISSING), ("not.ours", UNRECOGNIZED), (tokens.narrow, NARROW)]
    if path.startswith("/p/"):
        check_denied(app, path.replace("2", "3"), tokens.machine, PROJECT)
    for token, expected in refused:
        check_denied(app, path, token, expected)


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
    app = wrap(make(ASGI))
    for server in (app, without_denial(app)):
        with pytest.raises(WebSocketDisconnect) as closed:
            connect(server, "/late", tokens.machine)
        assert closed.value.code == 1008
    check_problem(ask(app, "/p/3/hooked", tokens.machine), *PROJECT)
    assert ask(app, "/hooked", tokens.machine).body == b"machine"


@pytest.mark.usefixtures("quiet")
def test_a_handler_closes_a_refused_websocket_in_its_own_way(wrap, tokens):
    async def tell(req, resp, error, params, ws=None):
        await ws.accept()
        await ws.close(4000 + {"not_authenticated": 401, "scope_missing": 403}[error.denied.reason])

    app = make(ASGI)
    app.add_error_handler(SocketRefusal, tell)
    app = wrap(app)
    for token, code in ((None, 4401), (tokens.narrow, 4403)):
        with pytest.raises(WebSocketDisconnect) as closed:
            connect(app, "/class", token)
        assert closed.value.code == code


@pytest.mark.usefixtures("quiet")
def test_streams_and_background_work_know_whose_they_are(ask, wrap, tokens, flavour):
    seen = []

    def work():
        seen.append(who())

    async def async_work():
        seen.append(who())

    class Stream:
        @demand
        def on_get(self, req, resp):
            resp.stream = (f"{who()}\n".encode() for _ in range(2))
            Thread(target=copy_context().run, args=[work]).start()

    class AsyncStream:
        @demand
        async def on_get(self, req, resp):
            async def lines():
                for _ in range(2):
                    yield f"{who()}\n".encode()

            resp.stream = lines()
            resp.schedule(async_work)

    app = make(flavour)
    app.add_route("/stream", AsyncStream() if flavour == ASGI else Stream())
    app = wrap(app)
    assert ask(app, "/stream", tokens.machine).body == b"machine\nmachine\n"
    eventually(lambda: seen == ["machine"])
    assert ask(app, "/open").body == b"nobody"


def test_without_the_middleware_nobody_gets_in(ask, tokens, flavour):
    app = make(flavour)
    seen = []

    def note(req, resp, error, params, ws=None):
        seen.append(error)
        resp.status = 500

    async def async_note(req, resp, error, params, ws=None):
        note(req, resp, error, params)

    app.add_error_handler(MiddlewareMissing, async_note if flavour == ASGI else note)
    client = testing.TestClient(app)
    for path in VIEWS:
        headers = {"Authorization": f"Bearer {tokens.machine}"}
        assert client.simulate_get(path, headers=headers).status_code == 500
    assert len(seen) == len(VIEWS)


@pytest.mark.usefixtures("quiet")
def test_a_responder_that_another_calls(ask, wrap, tokens):
    """A hook knows parameters by their place too; a decorated function's are known by name."""

    class Twice:
        @falcon.before(project_hook)
        def on_get(self, req, resp, project_id):
            resp.text = who()

        @project_demand
        def on_post(self, req, resp, project_id):
            resp.text = who()

        def on_head(self, req, resp, project_id):
            self.on_get(req, resp, project_id)

        def on_put(self, req, resp, project_id):
            self.on_post(req, resp, project_id=project_id)

        def on_patch(self, req, resp, project_id):
            self.on_post(req, resp, project_id)

    app = falcon.App()
    app.add_route("/p/{project_id}", Twice())
    app = wrap(app)
    for method in ("GET", "POST", "HEAD", "PUT"):
        assert ask(app, "/p/2", tokens.machine, method=method).status == 200, method
        assert ask(app, "/p/3", tokens.machine, method=method).status == 403, method
    check_problem(ask(app, "/p/2", tokens.machine, method="PATCH"), *PROJECT)


def test_mistakes_show_when_the_app_is_made():
    for wrong in ({"kinds": ["robot"]}, {"project": ""}):
        with pytest.raises(InvalidInput):
            key_hook("endpoint:read", **wrong)
    with pytest.raises(InvalidInput):
        key_hook("endpoint")
    with pytest.raises(TypeError, match="Open is no class-based view"):
        require_scopes("endpoint:read")(Open)


def test_refusals_are_keymws_and_falcons():
    assert issubclass(Refusal, AccessDenied)
    assert issubclass(Refusal, falcon.HTTPError)
