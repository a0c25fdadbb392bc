"""One ASGI worker: uvicorn, and an `AsyncKeyService` from the environment.

python -m chaos.asgi_worker FD        FD: a listening socket that the fleet hands down
"""

from __future__ import annotations

import socket
import sys
import time

import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from chaos import stamps
from keymw import AsyncKeyService, require_scopes
from keymw.asgi import KeyAuthMiddleware

keys = AsyncKeyService.from_env()


@require_scopes(stamps.SCOPE, kinds=stamps.KINDS)
async def view(request):
    return Response(stamps.accepted(request.scope["chaos.entered"]))


guarded = KeyAuthMiddleware(Starlette(routes=[Route("/", view)]), keys, required=True)


async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == stamps.STATS:
        await Response(stamps.counters(keys))(scope, receive, send)
        return
    await guarded(scope | {"chaos.entered": time.monotonic()}, receive, send)


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        app, lifespan="on", log_level="warning", access_log=False, timeout_keep_alive=75
    )
    uvicorn.Server(config).run(sockets=[listener])
