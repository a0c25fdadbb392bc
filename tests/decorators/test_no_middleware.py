"""A view with no middleware around it is a 500 and one clear line, never an open door."""

from __future__ import annotations

import logging

import pytest
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client

from decorators.apps import IDS, MAKERS, PATHS, WS_PATHS
from decorators.asking import connect
from decorators.flask_views import flask_app
from decorators.guards import guard, who
from decorators.starlette_views import raw_asgi
from keymw import asgi as asgi_face
from keymw.errors import MiddlewareMissing


def one_error(caplog):
    (entry,) = [entry for entry in caplog.records if entry.name == "keymw"]
    assert entry.levelno == logging.ERROR
    assert "KeyAuthMiddleware" in entry.getMessage()
    assert "require_scopes" in entry.getMessage()
    return entry.getMessage()


@pytest.mark.parametrize(("framework", "path"), PATHS, ids=IDS)
def test_no_middleware_is_500_and_one_clear_line(ask, framework, path, machine, caplog):
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


def test_the_line_names_the_class_that_was_decorated(machine, caplog):
    client = TestClient(MAKERS["starlette"](), raise_server_exceptions=False)
    client.get("/class", headers={"Authorization": f"Bearer {machine}"})
    assert one_error(caplog).startswith("StarletteClass is decorated")


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
def test_an_outer_requests_key_opens_no_unwrapped_app(ask, wrap, machine, framework, path, caplog):
    inner = MAKERS[framework]()

    async def view(request):
        assert who() == "machine"
        return PlainTextResponse(str(await call_asgi(inner, path, machine)))

    outer = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(outer, "/", machine).body == b"500"
    one_error(caplog)


def test_an_outer_requests_key_opens_no_bare_asgi_app(ask, wrap, machine, caplog):
    async def view(request):
        return PlainTextResponse(str(await call_asgi(raw_asgi, "/", machine)))

    outer = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(outer, "/", machine).body == b"500"
    one_error(caplog)


@pytest.mark.parametrize("path", ["/sync", "/async", "/Methods", "/Whole", "/generator"])
def test_an_outer_flask_requests_key_opens_no_unwrapped_flask(ask, wrap, machine, path, caplog):
    inner, outer = flask_app(), Flask("outer")

    @outer.get("/")
    def view():
        assert who() == "machine"
        return str(ask(inner, path, machine).status)

    assert ask(wrap(outer), "/", machine).body == b"500"
    one_error(caplog)


def test_an_outer_wsgi_requests_key_opens_no_bare_wsgi_app(ask, wrap, machine, keys, caplog):
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
