"""Saved endpoints in Quart: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    uvicorn --app-dir examples quart_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

`flask_endpoints.py` is the same in Flask.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from quart import Quart, Response, request
from quart.utils import run_sync_iterable
from quart.views import MethodView

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
    from quart.typing import ResponseReturnValue
    from werkzeug.exceptions import HTTPException

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

app = Quart(__name__)
app.asgi_app = KeyAuthMiddleware(app.asgi_app, keys)  # type: ignore[assignment, method-assign]


class EndpointList(MethodView):
    """The endpoints of a project."""

    @reads
    async def get(self, project_id: str) -> ResponseReturnValue:
        """List them."""
        return endpoints.of(project_id)

    @writes
    async def post(self, project_id: str) -> ResponseReturnValue:
        """Save a new one."""
        return asdict(endpoints.create(project_id, parse_object(await request.body))), 201


class EndpointDetail(MethodView):
    """One endpoint."""

    @reads
    async def get(self, project_id: str, name: str) -> ResponseReturnValue:
        """Show it."""
        return asdict(endpoints.get(project_id, name))

    @writes
    async def patch(self, project_id: str, name: str) -> ResponseReturnValue:
        """Change what it asks."""
        return asdict(endpoints.update(project_id, name, parse_object(await request.body)))

    @writes
    async def delete(self, project_id: str, name: str) -> ResponseReturnValue:
        """Forget it."""
        endpoints.delete(project_id, name)
        return "", 204


list_url = "/api/projects/<project_id>/endpoints"
app.add_url_rule(list_url, view_func=EndpointList.as_view("list"))
app.add_url_rule(f"{list_url}/<name>", view_func=EndpointDetail.as_view("detail"))


@app.route(f"{list_url}/<name>/run", methods=["GET", "POST"])
@runs
async def run_endpoint(project_id: str, name: str) -> ResponseReturnValue:
    endpoint = endpoints.get(project_id, name)
    parameters = dict(request.args.items(multi=True))
    if request.method == "POST":
        parameters = parse_object(await request.body)
    return endpoint.run(parameters)


@app.get("/api/projects/<project_id>/export")
@runs
async def export_orders(project_id: str) -> ResponseReturnValue:  # noqa: ARG001
    return Response(run_sync_iterable(export()), mimetype="text/plain")


@app.route("/api/projects/<project_id>/refresh", methods=["GET", "POST"])
@runs
async def refresh(project_id: str) -> ResponseReturnValue:
    if request.method == "GET":
        return dict(refreshes.last(project_id))
    app.add_background_task(refreshes.run, project_id)
    return {}, 202


@app.get("/whoami")
async def whoami() -> ResponseReturnValue:
    return describe(current_principal())


@app.get("/health")
async def health() -> ResponseReturnValue:
    return {"status": "ok"}


@app.errorhandler(EndpointError)
async def explain(error: EndpointError) -> ResponseReturnValue:
    return {"detail": error.detail}, error.status


@app.errorhandler(404)
@app.errorhandler(405)
async def not_served(error: HTTPException) -> ResponseReturnValue:
    response = error.get_response()
    response.set_data(app.json.dumps({"detail": error.name}))
    response.content_type = "application/json"
    return response
