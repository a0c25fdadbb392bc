"""Saved endpoints in Litestar: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    uvicorn --app-dir examples litestar_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

`starlette_endpoints.py` is the same in Starlette. `/schema/openapi.json` says which route takes
which keys.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from litestar import Controller, Litestar, Request, Response, Router, get, patch, post, route
from litestar import delete as delete_
from litestar.background_tasks import BackgroundTask
from litestar.enums import HttpMethod
from litestar.params import FromPath, RawBody  # noqa: TC002 - Litestar reads them
from litestar.response import Stream

from endpoints_data import (
    EndpointError,
    Refreshes,
    SavedEndpoints,
    describe,
    export,
    parse_object,
)
from keymw import AsyncKeyService, KeyKind, ScopeCatalog, Settings, current_principal
from keymw.asgi import KeyAuthMiddleware
from keymw.integrations.litestar import KeyDocs, key_guard

if TYPE_CHECKING:
    from litestar.exceptions import HTTPException

keys = AsyncKeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog({"endpoint": ("read", "write")}, project_secret=["endpoint:read"]),
)
endpoints = SavedEndpoints()
refreshes = Refreshes()

reads = key_guard("endpoint:read", project="project_id")
writes = key_guard("endpoint:write", project="project_id")
runs = key_guard(
    "endpoint:read", kinds=[KeyKind.PROJECT_SECRET, KeyKind.PERSONAL], project="project_id"
)

#: Litestar answers HEAD where a handler says so.
READING = (HttpMethod.GET, HttpMethod.HEAD)


class EndpointList(Controller):
    """The endpoints of a project."""

    path = "/endpoints"

    @route(http_method=READING, guards=[reads])
    async def list_all(self, project_id: FromPath[str]) -> list[dict[str, Any]]:
        """List them."""
        return endpoints.of(project_id)

    @post(guards=[writes])
    async def create(self, project_id: FromPath[str], body: RawBody) -> dict[str, Any]:
        """Save a new one."""
        return asdict(endpoints.create(project_id, parse_object(body)))


class EndpointDetail(Controller):
    """One endpoint."""

    path = "/endpoints/{name:str}"

    @route(http_method=READING, guards=[reads])
    async def show(self, project_id: FromPath[str], name: FromPath[str]) -> dict[str, Any]:
        """Show it."""
        return asdict(endpoints.get(project_id, name))

    @patch(guards=[writes])
    async def update(
        self, project_id: FromPath[str], name: FromPath[str], body: RawBody
    ) -> dict[str, Any]:
        """Change what it asks."""
        return asdict(endpoints.update(project_id, name, parse_object(body)))

    @delete_(guards=[writes])
    async def delete(self, project_id: FromPath[str], name: FromPath[str]) -> None:
        """Forget it."""
        endpoints.delete(project_id, name)


@route("/endpoints/{name:str}/run", http_method=[*READING, HttpMethod.POST], status_code=200)
async def run_endpoint(
    request: Request[Any, Any, Any], project_id: FromPath[str], name: FromPath[str]
) -> dict[str, Any]:
    endpoint = endpoints.get(project_id, name)
    parameters = dict(request.query_params.multi_items())
    if request.method == "POST":
        parameters = parse_object(await request.body())
    return endpoint.run(parameters)


@get("/export")
async def export_orders() -> Stream:
    return Stream(export(), media_type="text/plain")


@post("/refresh")
async def refresh(project_id: FromPath[str]) -> Response[dict[str, Any]]:
    task = BackgroundTask(refreshes.run, project_id)
    return Response({}, status_code=202, background=task)


@get("/refresh")
async def last_refresh(project_id: FromPath[str]) -> dict[str, str | None]:
    return refreshes.last(project_id)


@route("/whoami", http_method=READING)
async def whoami() -> dict[str, Any]:
    return describe(current_principal())


@route("/health", http_method=READING)
async def health() -> dict[str, Any]:
    return {"status": "ok"}


def explain(request: object, error: EndpointError) -> Response[dict[str, str]]:  # noqa: ARG001
    return Response({"detail": error.detail}, status_code=error.status)


def not_served(request: object, error: HTTPException) -> Response[dict[str, str]]:  # noqa: ARG001
    return Response({"detail": error.detail}, status_code=error.status_code, headers=error.headers)


project = "/api/projects/{project_id:str}"
app = KeyAuthMiddleware(
    Litestar(
        [
            Router(project, route_handlers=[EndpointList, EndpointDetail]),
            # A router's guards are those of all its handlers.
            Router(
                project,
                guards=[runs],
                route_handlers=[run_endpoint, export_orders, refresh, last_refresh],
            ),
            whoami,
            health,
        ],
        plugins=[KeyDocs()],
        exception_handlers={EndpointError: explain, 404: not_served, 405: not_served},
    ),
    keys,
)
