"""Every form of view that Starlette knows, guarded."""

from __future__ import annotations

import functools

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, Router, WebSocketRoute

from decorators.guards import guard, humans, of_project, timed_async, who


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


class Functions:
    @guard
    @staticmethod
    async def static(request):
        return PlainTextResponse(who())

    @guard
    @classmethod
    def of_class(cls, request):
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
        Route("/partial-callable", guard(functools.partial(Callable()))),
        Route("/static", Functions.static),
        Route("/of-class", Functions().of_class),
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
    "/partial-callable",
    "/static",
    "/of-class",
    "/above",
    "/below",
    "/stacked",
    "/mount/in",
    "/app/in",
    "/router/in",
    "/raw/in",
    "/guarded-app/in",
]
