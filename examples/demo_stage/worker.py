"""One worker of the demo: the Starlette example under uvicorn, with its cache figures beside it.

python -m demo_stage.worker FD        FD: a listening socket that the demo hands down
"""

from __future__ import annotations

import socket
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import uvicorn
from starlette.responses import JSONResponse

from demo_stage.client import FIGURES
from starlette_endpoints import app as example
from starlette_endpoints import keys

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the example; outside of it, the figures, for the demo is on the same machine."""
    served: ASGIApp = example
    if scope["type"] == "http" and scope["path"] == FIGURES:
        served = JSONResponse(asdict(keys.stats()))
    await served(scope, receive, send)


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(app, lifespan="on", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
