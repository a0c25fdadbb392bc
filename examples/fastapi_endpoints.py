"""Saved endpoints in FastAPI: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    uvicorn --app-dir examples fastapi_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

What a route demands is a dependency, so `/docs` shows it: scopes, kinds of key, refusals.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, Response, Security
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

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
from keymw.integrations.fastapi import KeyAuth

keys = AsyncKeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog({"endpoint": ("read", "write")}, project_secret=["endpoint:read"]),
)
endpoints = SavedEndpoints()
refreshes = Refreshes()

people = KeyAuth(project="project_id")
anybody = KeyAuth(kinds=[KeyKind.PROJECT_SECRET, KeyKind.PERSONAL], project="project_id")
reads = [Security(people, scopes=["endpoint:read"])]
writes = [Security(people, scopes=["endpoint:write"])]

PROJECT = "/api/projects/{project_id}"
configured = APIRouter(prefix=f"{PROJECT}/endpoints")
# A router's dependencies are those of all its routes.
executed = APIRouter(prefix=PROJECT, dependencies=[Security(anybody, scopes=["endpoint:read"])])


async def json_object(request: Request) -> Mapping[str, Any]:
    return parse_object(await request.body())


Fields = Annotated[Mapping[str, Any], Depends(json_object)]


@configured.get("", dependencies=reads)
async def list_endpoints(project_id: str) -> list[dict[str, Any]]:
    return endpoints.of(project_id)


@configured.post("", status_code=201, dependencies=writes)
async def create(project_id: str, fields: Fields) -> dict[str, Any]:
    return asdict(endpoints.create(project_id, fields))


@configured.api_route("/{name}", methods=["GET", "HEAD"], dependencies=reads)
async def show(project_id: str, name: str) -> dict[str, Any]:
    return asdict(endpoints.get(project_id, name))


@configured.patch("/{name}", dependencies=writes)
async def update(project_id: str, name: str, fields: Fields) -> dict[str, Any]:
    return asdict(endpoints.update(project_id, name, fields))


@configured.delete("/{name}", status_code=204, dependencies=writes)
async def delete(project_id: str, name: str) -> Response:
    endpoints.delete(project_id, name)
    return Response(status_code=204)


@executed.api_route("/endpoints/{name}/run", methods=["GET", "HEAD"])
async def run_endpoint(request: Request, project_id: str, name: str) -> dict[str, Any]:
    return endpoints.get(project_id, name).run(dict(request.query_params))


@executed.post("/endpoints/{name}/run")
async def run_with(project_id: str, name: str, fields: Fields) -> dict[str, Any]:
    return endpoints.get(project_id, name).run(fields)


@executed.get("/export")
def export_orders() -> Response:
    return StreamingResponse(export(), media_type="text/plain")


@executed.post("/refresh", status_code=202)
async def refresh(project_id: str, tasks: BackgroundTasks) -> dict[str, Any]:
    tasks.add_task(refreshes.run, project_id)
    return {}


@executed.get("/refresh")
async def last_refresh(project_id: str) -> dict[str, str | None]:
    return refreshes.last(project_id)


app = FastAPI(title="Saved endpoints")
app.add_middleware(KeyAuthMiddleware, keys=keys)
app.include_router(configured)
app.include_router(executed)


@app.get("/whoami")
async def whoami() -> dict[str, Any]:
    return describe(current_principal())


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.exception_handler(EndpointError)
async def explain(request: Request, error: EndpointError) -> Response:  # noqa: ARG001
    return JSONResponse({"detail": error.detail}, error.status)


@app.exception_handler(404)
@app.exception_handler(405)
async def not_served(request: Request, error: HTTPException) -> Response:  # noqa: ARG001
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
