"""Frameworks that can only close a WebSocket, under a real server: the client reads the reason."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from typing import Any

import falcon
import falcon.asgi
import litestar
import pytest
import uvicorn
from litestar import Litestar, WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from conftest import eventually
from keymw import AsyncKeyService
from keymw.asgi import KeyAuthMiddleware
from keymw.integrations.falcon import key_hook
from keymw.integrations.litestar import key_guard

#: What uvicorn says of every denial by an HTTP answer, whoever sends it.
DENIED = "ASGI callable returned without completing handshake."

TAKES = {"kinds": ["project_secret"], "project": "project_id"}


class Socket:
    @falcon.before(key_hook("endpoint:read", **TAKES))
    async def on_websocket(self, req, ws, project_id):
        await ws.accept()
        await ws.send_text(req.scope["user"].display_name)


@litestar.websocket("/{project_id:str}", guards=[key_guard("endpoint:read", **TAKES)])
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text(socket.user.display_name)
    await socket.close()


def falcon_app():
    app = falcon.asgi.App()
    app.add_route("/{project_id}", Socket())
    return app


def litestar_app():
    return Litestar([socket], logging_config=None)


@contextlib.contextmanager
def serving(app):
    """Serve an app with uvicorn, in a thread; yields the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive())
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("make", [falcon_app, litestar_app])
def test_a_refused_socket_has_the_whole_answer(keys, sqlite_url, make, caplog):
    token = keys.issue_project_key("2", "machine", ["endpoint:read"]).token
    headers = {"Authorization": f"Bearer {token}"}
    with serving(KeyAuthMiddleware(make(), AsyncKeyService(sqlite_url))) as port:
        with connect(f"ws://127.0.0.1:{port}/2", additional_headers=headers) as client:
            assert client.recv() == "machine"
        for path, sent, code in (("3", headers, "wrong_project"), ("2", {}, "not_authenticated")):
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://127.0.0.1:{port}/{path}", additional_headers=sent)
            response = refused.value.response
            assert response.status_code == {"wrong_project": 403}.get(code, 401)
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.headers["WWW-Authenticate"].startswith('Bearer realm="keymw"')
            assert json.loads(response.body)["code"] == code
    said = {entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING}
    assert said <= {DENIED}
