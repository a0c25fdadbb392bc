"""Plain ASGI and WSGI callables: a demand around an app that a router mounts, or around it all."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from decorators.asking import KIND, MISSING, NARROW, PROJECT, check_problem, connect, without_denial
from decorators.guards import guard, humans, of_project, who
from keymw import AsyncKeyService, current_principal
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face
from keymw.errors import MiddlewareMissing

OTHER_PROJECTS = ("3", "02", "%EF%BC%92", "2%20", "%32%32", "2%00")


async def asgi_app(scope, receive, send):
    """Say who it is, over HTTP or a WebSocket; start and stop."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
    elif scope["type"] == "websocket":
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.send_text(who())
        await socket.close()
    else:
        await PlainTextResponse(who())(scope, receive, send)


def wsgi_app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [who().encode()]


class Callables:
    """Apps that are objects."""

    class Asgi:
        async def __call__(self, scope, receive, send):
            await asgi_app(scope, receive, send)

    class Wsgi:
        def __call__(self, environ, start_response):
            return wsgi_app(environ, start_response)


def asgi_router(inner):
    """Mount an app below a project, as a router of one's own does."""

    async def route(scope, receive, send):
        if scope["type"] == "lifespan":
            await inner(scope, receive, send)
            return
        match = re.fullmatch("/projects/([^/]+)(/.*)", scope["path"])
        inside = {**scope, "path": match[2], "path_params": {"project_id": match[1]}}
        await inner(inside, receive, send)

    return route


def wsgi_router(inner):
    def route(environ, start_response):
        match = re.fullmatch("/projects/([^/]+)(/.*)", environ["PATH_INFO"])
        environ["PATH_INFO"] = match[2]
        project = match[1].encode("latin-1").decode()
        environ["wsgiorg.routing_args"] = ((), {"project_id": project})
        return inner(environ, start_response)

    return route


MOUNTED = {
    "asgi": lambda: asgi_router(of_project(asgi_app)),
    "asgi object": lambda: asgi_router(of_project(Callables.Asgi())),
    "starlette mount": lambda: Starlette(
        routes=[Mount("/projects/{project_id}", of_project(asgi_app))]
    ),
    "starlette in starlette": lambda: Starlette(
        routes=[
            Mount(
                "/projects/{project_id}",
                of_project(Starlette(routes=[Route("/in", lambda _: PlainTextResponse(who()))])),
            )
        ]
    ),
    "wsgi": lambda: wsgi_router(of_project(wsgi_app)),
    "wsgi object": lambda: wsgi_router(of_project(Callables.Wsgi())),
}


def around(name, app, keys, service):
    """Return the face of an app."""
    if name.startswith("wsgi"):
        return wsgi_face.KeyAuthMiddleware(app, keys)
    return asgi_face.KeyAuthMiddleware(app, service)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", MOUNTED)
def test_a_mounted_app_asks_for_its_project(ask, keys, service, tokens, name):
    app = around(name, MOUNTED[name](), keys, service)
    path = "/projects/{}/in"
    assert ask(app, path.format("2"), tokens.machine).body == b"machine"
    assert ask(app, path.format("2"), tokens.person).body == b"user-7"
    check_problem(ask(app, path.format("2")), *MISSING)
    check_problem(ask(app, path.format("2"), tokens.narrow), *NARROW)
    for other in OTHER_PROJECTS:
        check_problem(ask(app, path.format(other) + "?project_id=2", tokens.machine), *PROJECT)
    head = ask(app, path.format("3"), tokens.machine, method="HEAD")
    assert (head.status, head.body) == (403, b"")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "name", [name for name in MOUNTED if name in ("asgi", "asgi object", "starlette mount")]
)
def test_a_mounted_apps_websocket(keys, service, tokens, name):
    app = around(name, MOUNTED[name](), keys, service)
    assert connect(app, "/projects/2/in", tokens.machine) == "machine"
    for path, token in (("/projects/3/in", tokens.machine), ("/projects/2/in", None)):
        with pytest.raises(WebSocketDenialResponse):
            connect(app, path, token)
        with pytest.raises(WebSocketDisconnect) as closed:
            connect(without_denial(app), path, token)
        assert closed.value.code == 1008


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("name", "app"), [("asgi", of_project(asgi_app)), ("wsgi", of_project(wsgi_app))]
)
def test_where_no_router_has_found_a_project_nobody_gets_in(ask, keys, service, tokens, name, app):
    app = around(name, app, keys, service)
    for token in (tokens.machine, keys.issue_personal_key("user-8", "all", ["*"]).token):
        check_problem(ask(app, "/projects/2/in?project_id=2", token), *PROJECT)


@pytest.mark.usefixtures("quiet")
def test_a_flask_app_that_a_dispatcher_mounts(ask, keys, tokens):
    flask = Flask("mounted")
    flask.get("/in")(who)
    mounts = {"/mounted": guard(flask), "/humans": humans(flask.wsgi_app)}
    app = wsgi_face.KeyAuthMiddleware(DispatcherMiddleware(wsgi_app, mounts), keys)
    assert ask(app, "/mounted/in", tokens.machine).body == b"machine"
    check_problem(ask(app, "/mounted/in"), *MISSING)
    # Also where the app has no such page: nobody learns what there is.
    check_problem(ask(app, "/mounted/nowhere"), *MISSING)
    assert ask(app, "/mounted/nowhere", tokens.machine).status == 404
    check_problem(ask(app, "/humans/in", tokens.machine), *KIND)
    assert ask(app, "/", None).body == b""


def test_a_demand_around_a_whole_app_lets_its_lifespan_through(service, tokens, quiet):
    """It is no request: the app starts and stops, and so does the service."""
    said = []

    async def app(scope, receive, send):
        if scope["type"] != "lifespan":
            await asgi_app(scope, receive, send)
            return
        for _ in range(2):
            message = await receive()
            said.append(message["type"])
            await send({"type": f"{message['type']}.complete"})

    whole = asgi_face.KeyAuthMiddleware(guard(app), service)
    with TestClient(whole) as client:
        assert said == ["lifespan.startup"]
        assert client.get("/").status_code == 401
        good = client.get("/", headers={"Authorization": f"Bearer {tokens.machine}"})
        assert good.text == "machine"
    assert said == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize(
    "args",
    [
        ({"type": "lifespan"},),
        ({"type": "lifespan"}, None, None),
        ({"type": "lifespan"}, {}, []),
        ({"type": "http"}, print, print),
        ({"type": "http", "headers": []}, print, print),
        ({"type": "lifespan", "headers": []}, print, print),
        ({"REQUEST_METHOD": "GET"}, print),
        ({}, print),
    ],
)
@pytest.mark.parametrize("make", [lambda called: called, lambda called: called.append])
def test_what_looks_like_a_connection_opens_nothing(args, make):
    """Documents that a client sends are dicts too."""
    called = []
    view = guard(lambda *args: make(called)(args))
    with pytest.raises(MiddlewareMissing):
        view(*args)
    assert called == []


def test_the_apps_context_ends_with_it(ask, keys, sqlite_url, tokens):
    for name, app in (("asgi", guard(asgi_app)), ("wsgi", guard(wsgi_app))):
        whole = around(name, app, keys, AsyncKeyService(sqlite_url))
        assert ask(whole, "/", tokens.machine).body == b"machine"
        assert not current_principal().is_authenticated
