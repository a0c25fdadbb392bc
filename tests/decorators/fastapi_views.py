"""Every form of view that FastAPI knows, guarded."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable  # noqa: TC003 - FastAPI reads them
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse as FastAPIStream
from pydantic import BaseModel

from decorators.guards import KINDS, guard, humans, of_project, timed, timed_async, who
from keymw import require_scopes


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
