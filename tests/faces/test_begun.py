"""Refusals by the ASGI face before, at and after the start of an answer."""

from __future__ import annotations

import pytest

from faces.app import Seen, both
from faces.driving import AsgiDenial, AsgiWebSocket
from keymw import asgi as asgi_face


def test_an_upgraded_websocket_is_accepted_with_the_apps_headers(keys, sqlite_url, runner):
    face = AsgiWebSocket(sqlite_url, runner)
    app = face.app(Seen(), [(b"x-one", b"1")])
    sent = face.send(asgi_face.KeyAuthMiddleware(app, face.keys), face.scope([], "/open", "GET"))
    assert sent[0] == {"type": "websocket.accept", "headers": [(b"x-one", b"1")]}
    face.close()


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
