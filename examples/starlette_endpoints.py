"""Saved endpoints in Starlette: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    uvicorn --app-dir examples starlette_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

`flask_endpoints.py` is the same in Flask.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from endpoints_data import (
    EndpointError,
    Refreshes,
    SavedEndpoints,
    describe,
    export,
    parse_object,
)
from keymw import (
    AsyncKeyService,
    KeyKind,
    ScopeCatalog,
    Settings,
    current_principal,
    require_scopes,
)
from keymw.asgi import KeyAuthMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request

keys = AsyncKeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog({"endpoint": ("read", "write")}, project_secret=["endpoint:read"]),
)
endpoints = SavedEndpoints()
refreshes = Refreshes()

reads = require_scopes("endpoint:read", project="project_id")
writes = require_scopes("endpoint:write", project="project_id")
runs = require_scopes(
    "endpoint:read", kinds=[KeyKind.PROJECT_SECRET, KeyKind.PERSONAL], project="project_id"
)


class EndpointList(HTTPEndpoint):
    """The endpoints of a project."""

    @reads
    async def get(self, request: Request) -> Response:
        """List them."""
        return JSONResponse(endpoints.of(request.path_params["project_id"]))

    @writes
    async def post(self, request: Request) -> Response:
        """Save a new one."""
        fields = parse_object(await request.body())
        endpoint = endpoints.create(request.path_params["project_id"], fields)
        return JSONResponse(asdict(endpoint), 201)


class EndpointDetail(HTTPEndpoint):
    """One endpoint."""

    @reads
    async def get(self, request: Request) -> Response:
        """Show it."""
        return JSONResponse(asdict(endpoints.get(**request.path_params)))

    @writes
    async def patch(self, request: Request) -> Response:
        """Change what it asks."""
        fields = parse_object(await request.body())
        return JSONResponse(asdict(endpoints.update(**request.path_params, fields=fields)))

    @writes
    async def delete(self, request: Request) -> Response:
        """Forget it."""
        endpoints.delete(**request.path_params)
        return Response(status_code=204)


@runs
async def run_endpoint(request: Request) -> Response:
    endpoint = endpoints.get(**request.path_params)
    parameters = dict(request.query_params)
    if request.method == "POST":
        parameters = parse_object(await request.body())
    return JSONResponse(endpoint.run(parameters))


@runs
async def export_orders(request: Request) -> Response:  # noqa: ARG001
    return StreamingResponse(export(), media_type="text/plain")


@runs
async def refresh(request: Request) -> Response:
    project_id = request.path_params["project_id"]
    if request.method == "GET":
        return JSONResponse(refreshes.last(project_id))
    return JSONResponse({}, 202, background=BackgroundTask(refreshes.run, project_id))


async def whoami(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse(describe(current_principal()))


async def health(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse({"status": "ok"})


async def explain(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, EndpointError)
    return JSONResponse({"detail": error.detail}, error.status)


async def not_served(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


app = Starlette(
    routes=[
        Route("/api/projects/{project_id}/endpoints", EndpointList),
        Route("/api/projects/{project_id}/endpoints/{name}", EndpointDetail),
        Route(
            "/api/projects/{project_id}/endpoints/{name}/run", run_endpoint, methods=["GET", "POST"]
        ),
        Route("/api/projects/{project_id}/export", export_orders),
        Route("/api/projects/{project_id}/refresh", refresh, methods=["GET", "POST"]),
        Route("/whoami", whoami),
        Route("/health", health),
    ],
    middleware=[Middleware(KeyAuthMiddleware, keys)],
    exception_handlers={EndpointError: explain, 404: not_served, 405: not_served},
)
