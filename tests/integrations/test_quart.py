"""Quart: views of every form, blueprints, WebSockets, error handlers, `g` and background work."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from quart import Blueprint, Quart, Response, abort, g, request, websocket
from quart.testing.connections import WebsocketResponseError
from quart.views import MethodView, View
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized

from conftest import eventually
from decorators.asking import (
    INVALID,
    KIND,
    MISSING,
    NARROW,
    PROJECT,
    UNRECOGNIZED,
    Answer,
    check_problem,
    connect,
    without_denial,
)
from keymw import asgi as asgi_face
from keymw import current_principal, require_scopes
from keymw.errors import MiddlewareMissing
from keymw.integrations.quart import ForbiddenRefusal, UnauthorizedRefusal, init_app
from keymw.tokens import generate

BOTH = ["project_secret", "personal"]
demand = require_scopes("endpoint:read", kinds=BOTH)
project_demand = require_scopes("endpoint:read", kinds=BOTH, project="project_id")


def who():
    return current_principal().display_name or "nobody"


async def view():
    return who()


def sync():
    return who()


async def project(project_id):
    return str(project_id)


async def stream():
    async def lines():
        for _ in range(2):
            yield who()

    return Response(lines())


def sync_generator():
    yield who()


async def generator():
    yield who()


class Methods(MethodView):
    @demand
    async def get(self):
        return who()


class SyncMethods(MethodView):
    @demand
    def get(self):
        return who()


class Decorated(MethodView):
    decorators = [demand]  # noqa: RUF012 - Quart's way

    async def get(self):
        return who()


@demand
class Whole(MethodView):
    async def get(self):
        return who()


@demand
class Plain(View):
    init_every_request = False

    async def dispatch_request(self):
        return who()


@demand
class SyncPlain(View):
    def dispatch_request(self):
        return who()


async def socket(**path):
    await websocket.accept()
    await websocket.send(who())


async def late():
    await websocket.accept()
    await require_scopes("other:read", kinds=BOTH)(view)()


FUNCTIONS = (view, sync, stream, sync_generator, generator)
CLASSES = (Methods, SyncMethods, Decorated, Whole, Plain, SyncPlain)
VIEWS = [
    *(f"/{function.__name__}" for function in FUNCTIONS),
    *(f"/{found.__name__}" for found in CLASSES),
    "/stacked",
    "/part/in",
    "/guarded/in",
    "/guarded/nested/in",
]
PROJECTS = ["/projects/{}", "/sync/{}", "/number/{}", "/guarded-project/{}"]


def blueprint(name, before, *rules, **options):
    """Return a blueprint that asks something before all of its views and sockets."""
    part = Blueprint(name, __name__, url_prefix=f"/{name}", **options)

    @part.before_request
    @part.before_websocket
    @before
    async def ask():
        pass

    for number, (rule, function) in enumerate(rules):
        part.add_url_rule(rule, f"view-{number}", function)
    part.add_websocket("/ws", "ws", socket)
    return part


def make():
    app = Quart(__name__)
    for function in FUNCTIONS:
        app.add_url_rule(f"/{function.__name__}", function.__name__, demand(function))
    for found in CLASSES:
        app.add_url_rule(f"/{found.__name__}", view_func=found.as_view(found.__name__))
    part = Blueprint("part", __name__, url_prefix="/part")
    part.get("/in")(demand(view))
    guarded = blueprint("guarded", demand, ("/in", view))
    nested = Blueprint("nested", __name__, url_prefix="/nested")
    nested.get("/in")(view)
    guarded.register_blueprint(nested)
    app.register_blueprint(part)
    app.register_blueprint(guarded)
    app.register_blueprint(
        blueprint("guarded-project", project_demand, ("/<project_id>", project), ("/", view))
    )
    app.add_url_rule("/stacked", "stacked", demand(demand(view)))
    app.add_url_rule("/open", "open", view)
    app.add_url_rule("/humans", "humans", require_scopes("endpoint:read")(view))
    app.add_url_rule("/projects/<project_id>", "project", project_demand(project))
    app.add_url_rule("/number/<int:project_id>", "number", project_demand(project))
    app.add_url_rule(
        "/sync/<project_id>", "sync-project", project_demand(lambda project_id: project_id)
    )
    app.add_url_rule("/elsewhere/<other>", "elsewhere", project_demand(lambda other: other))
    app.add_websocket("/ws", "ws", demand(socket))
    app.add_websocket("/ws/<project_id>", "ws-project", project_demand(socket))
    app.add_websocket("/ws-late", "ws-late", late)
    return app


@pytest.fixture(params=["framework", "whole"])
def wrap(request, service):
    """Return what puts the middleware around an app, at either place."""

    def wrap(app):
        if request.param == "whole":
            return asgi_face.KeyAuthMiddleware(app, service)
        app.asgi_app = asgi_face.KeyAuthMiddleware(app.asgi_app, service)
        return app

    return wrap


@pytest.mark.usefixtures("quiet")
def test_every_form_of_view(ask, wrap, tokens):
    app = wrap(make())
    for path in VIEWS:
        check_problem(ask(app, path), *MISSING)
        check_problem(ask(app, path, "not.ours"), *UNRECOGNIZED)
        check_problem(ask(app, path, generate("phs_")), *INVALID)
        check_problem(ask(app, path, tokens.narrow), *NARROW)
        for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
            answer = ask(app, path, token)
            assert (answer.status, answer.headers["vary"]) == (200, "Authorization")
            assert name in answer.body.decode()
    assert ask(app, "/open").body == b"nobody"
    check_problem(ask(app, "/humans", tokens.machine), *KIND)
    assert ask(app, "/view", method="HEAD").status == 401


@pytest.mark.usefixtures("quiet")
def test_the_project_in_the_path_is_the_keys(ask, wrap, keys, tokens):
    app = wrap(make())
    limited = keys.issue_personal_key("user-7", "b", ["*"], projects=["2"]).token
    for path in PROJECTS:
        for token in (tokens.machine, limited):
            assert ask(app, path.format("2"), token).body == b"2"
            check_problem(ask(app, path.format("3"), token), *PROJECT)
            check_problem(ask(app, path.format("3") + "?project_id=2", token), *PROJECT)
    for other in ("02", "%EF%BC%92", "2%20", "%32%32", "2%00", "2%0A", "-2"):
        check_problem(ask(app, f"/projects/{other}", tokens.machine), *PROJECT)
    for path in ("/elsewhere/2?project_id=2", "/guarded-project/?project_id=2"):
        check_problem(ask(app, path, tokens.machine), *PROJECT)


def denial(app, path, token):
    """Return the answer by which a WebSocket is refused."""
    with pytest.raises(WebSocketDenialResponse) as caught:
        connect(app, path, token)
    got = caught.value
    return Answer(got.status_code, got.headers.items(), got.content)


SOCKETS = ["/ws", "/ws/2", "/guarded/ws"]


@pytest.mark.usefixtures("quiet")
def test_a_websocket_is_refused_before_it_is_accepted(wrap, tokens):
    app = wrap(make())
    for path in SOCKETS:
        check_problem(denial(app, path, None), *MISSING)
        check_problem(denial(app, path, generate("pha_")), *INVALID)
        check_problem(denial(app, path, tokens.narrow), *NARROW)
        assert connect(app, path, tokens.machine) == "machine"
        for token in (None, tokens.narrow):
            with pytest.raises(WebSocketDisconnect) as caught:
                connect(without_denial(app), path, token)
            assert caught.value.code == 1008
    for path in ("/ws/3", "/ws/02", "/guarded-project/ws"):
        check_problem(denial(app, path, tokens.machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
def test_a_websocket_that_is_open_is_closed(wrap, tokens):
    for app in (wrap(make()), without_denial(wrap(make()))):
        with pytest.raises(WebSocketDisconnect) as caught:
            connect(app, "/ws-late", tokens.machine)
        assert caught.value.code == 1008


def handled(error):
    response = error.get_response()
    response.data = json.dumps({"oops": error.description})
    response.content_type = "application/json"
    return response


async def handled_async(error):
    return handled(error)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "kinds",
    [
        (401, 403),
        (HTTPException,),
        (Unauthorized, Forbidden),
        (UnauthorizedRefusal, ForbiddenRefusal),
    ],
    ids=str,
)
@pytest.mark.parametrize("handler", [handled, handled_async])
def test_error_handlers_restyle(ask, wrap, tokens, kinds, handler):
    app = make()
    for kind in kinds:
        app.register_error_handler(kind, handler)
    app = wrap(app)
    for path in ("/view", "/sync", "/guarded/in"):
        for token, expected in ((None, MISSING), (tokens.narrow, NARROW)):
            answer = ask(app, path, token)
            assert (answer.status, json.loads(answer.body)) == (
                expected[0],
                {"oops": expected[2]},
            )
            assert answer.headers["www-authenticate"].startswith('Bearer realm="keymw"')
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["vary"] == "Authorization"
    assert json.loads(denial(app, "/ws", None).body) == {"oops": MISSING[2]}


@pytest.mark.usefixtures("quiet")
def test_what_the_app_adds_to_answers_is_kept(ask, wrap):
    app = make()

    @app.after_request
    async def mark(response):
        response.headers["X-Mark"] = "1"
        return response

    answer = ask(wrap(app), "/view")
    check_problem(answer, *MISSING)
    assert answer.headers["x-mark"] == "1"


@pytest.mark.usefixtures("quiet")
def test_the_apps_own_errors_are_untouched(ask, wrap, tokens):
    app = make()

    @app.get("/mine")
    @demand
    async def mine():
        abort(403, "mine")

    answer = ask(wrap(app), "/mine", tokens.machine)
    assert answer.status == 403
    assert b"mine" in answer.body
    assert "www-authenticate" not in answer.headers


@pytest.mark.usefixtures("quiet")
def test_background_work_is_for_who_asked_for_it(ask, wrap, tokens):
    app, seen = make(), []

    def work():
        seen.append(who())

    async def slow():
        await asyncio.sleep(0.01)
        await demand(view)()
        work()

    @app.post("/work")
    @demand
    async def start():
        app.add_background_task(work)
        app.add_background_task(slow)
        return "", 202

    served = wrap(app)
    assert ask(served, "/work", tokens.machine, method="POST").status == 202
    eventually(lambda: seen == ["machine", "machine"])
    assert ask(served, "/open").body == b"nobody"
    assert who() == "nobody"


@pytest.mark.usefixtures("quiet")
def test_g_has_the_principal(ask, wrap, tokens):
    app = make()
    init_app(app)

    @app.get("/g")
    async def from_g():
        assert g.principal is current_principal()
        return g.principal.display_name or "nobody"

    @app.websocket("/ws-g")
    async def socket_from_g():
        await websocket.send(g.principal.display_name or "nobody")

    app = wrap(app)
    for token, name in ((tokens.machine, "machine"), (None, "nobody"), (tokens.person, "user-7")):
        assert ask(app, "/g", token).body.decode() == name
        assert connect(app, "/ws-g", token) == name


@pytest.mark.usefixtures("quiet")
def test_a_middleware_between_may_copy_the_scope(ask, wrap, tokens):
    app = make()
    inner = app.asgi_app

    async def copying(scope, receive, send):
        await inner(dict(scope), receive, send)

    app.asgi_app = copying
    app = wrap(app)
    assert ask(app, "/projects/2", tokens.machine).status == 200
    check_problem(ask(app, "/projects/3", tokens.machine), *PROJECT)
    assert connect(app, "/ws/2", tokens.machine) == "machine"
    check_problem(denial(app, "/ws/3", tokens.machine), *PROJECT)


def one_error(caplog):
    (entry,) = [entry for entry in caplog.records if entry.name == "keymw"]
    assert entry.levelno == logging.ERROR
    assert "KeyAuthMiddleware" in entry.getMessage()
    caplog.clear()


def test_no_middleware_is_500_and_one_clear_line(tokens, caplog):
    client = TestClient(make(), raise_server_exceptions=False)
    for path in (*VIEWS, "/projects/2", "/guarded-project/2"):
        got = client.get(path, headers={"Authorization": f"Bearer {tokens.machine}"})
        assert got.status_code == 500
        assert tokens.machine not in got.text + caplog.text
        one_error(caplog)
    for path in SOCKETS:
        assert denial(make(), path, tokens.machine).status == 500
        one_error(caplog)


async def test_an_outer_requests_key_opens_no_inner_app(service, tokens, caplog):
    """Neither within a request nor within a WebSocket, and neither of them either."""
    inner, outer = make(), make()
    wrapped = make()
    wrapped.asgi_app = asgi_face.KeyAuthMiddleware(wrapped.asgi_app, service)
    outer.asgi_app = asgi_face.KeyAuthMiddleware(outer.asgi_app, service)
    statuses = {inner: 500, wrapped: 401}

    async def nest():
        assert who() == "machine"
        for app, status in statuses.items():
            client = app.test_client()
            for path in VIEWS:
                assert (await client.get(path)).status_code == status
            for path in SOCKETS:
                with pytest.raises(WebsocketResponseError) as caught:
                    async with client.websocket(path) as connected:
                        await connected.receive()
                assert caught.value.response.status_code == status
        return "refused"

    @outer.get("/nest")
    async def within_a_request():
        assert request.path == "/nest"
        return await nest()

    @outer.websocket("/nest")
    async def within_a_websocket():
        await websocket.send(await nest())

    headers = {"Authorization": f"Bearer {tokens.machine}"}
    assert await (await outer.test_client().get("/nest", headers=headers)).get_data() == b"refused"
    async with outer.test_client().websocket("/nest", headers=headers) as connected:
        assert await connected.receive() == "refused"
    await service.aclose()


def test_a_guarded_function_outside_of_any_request(caplog):
    with pytest.raises(MiddlewareMissing):
        demand(sync)()
    one_error(caplog)
