"""WebSocket endpoints, on servers with and without denial responses."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from decorators.apps import MAKERS, PLACES, WS_PATHS
from decorators.asking import (
    INVALID,
    MISSING,
    NARROW,
    UNRECOGNIZED,
    Answer,
    check_problem,
    connect,
    without_denial,
)
from decorators.guards import KINDS
from keymw import require_scopes
from keymw.tokens import generate


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
