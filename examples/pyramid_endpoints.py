"""Saved endpoints in Pyramid: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    gunicorn --pythonpath examples pyramid_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

`flask_endpoints.py` is the same in Flask.
"""

from __future__ import annotations

import contextvars
import os
import threading
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pyramid.config import Configurator
from pyramid.response import Response
from pyramid.view import exception_view_config, notfound_view_config, view_config, view_defaults

from endpoints_data import (
    EndpointError,
    Refreshes,
    SavedEndpoints,
    describe,
    export,
    parse_object,
)
from keymw import KeyKind, KeyService, ScopeCatalog, Settings, current_principal
from keymw.wsgi import KeyAuthMiddleware

if TYPE_CHECKING:
    from pyramid.request import Request

keys = KeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog({"endpoint": ("read", "write")}, project_secret=["endpoint:read"]),
)
endpoints = SavedEndpoints()
refreshes = Refreshes()

#: What `config.include("keymw.integrations.pyramid")` lets view configuration say.
READS: Any = {"scopes": "endpoint:read", "project": "project_id"}
WRITES: Any = {"scopes": "endpoint:write", "project": "project_id"}
RUNS: Any = {**READS, "kinds": [KeyKind.PROJECT_SECRET, KeyKind.PERSONAL]}
GET = ("GET", "HEAD")


@view_defaults(route_name="list", renderer="json")
class EndpointList:
    """The endpoints of a project."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method=GET, **READS)
    def get(self) -> list[dict[str, Any]]:
        """List them."""
        return endpoints.of(**self.request.matchdict)

    @view_config(request_method="POST", **WRITES)
    def post(self) -> dict[str, Any]:
        """Save a new one."""
        endpoint = endpoints.create(**self.request.matchdict, fields=sent(self.request))
        self.request.response.status = 201
        return asdict(endpoint)


@view_defaults(route_name="detail", renderer="json")
class EndpointDetail:
    """One endpoint."""

    def __init__(self, request: Request) -> None:
        self.request = request

    @view_config(request_method=GET, **READS)
    def get(self) -> dict[str, Any]:
        """Show it."""
        return asdict(endpoints.get(**self.request.matchdict))

    @view_config(request_method="PATCH", **WRITES)
    def patch(self) -> dict[str, Any]:
        """Change what it asks."""
        return asdict(endpoints.update(**self.request.matchdict, fields=sent(self.request)))

    @view_config(request_method="DELETE", **WRITES)
    def delete(self) -> Response:
        """Forget it."""
        endpoints.delete(**self.request.matchdict)
        return Response(status=204)


@view_config(route_name="run", request_method=(*GET, "POST"), renderer="json", **RUNS)
def run_endpoint(request: Request) -> dict[str, Any]:
    endpoint = endpoints.get(**request.matchdict)
    parameters = dict(request.GET)
    if request.method == "POST":
        parameters = sent(request)
    return endpoint.run(parameters)


@view_config(route_name="export", request_method=GET, **RUNS)
def export_orders(request: Request) -> Response:  # noqa: ARG001
    lines = (line.encode() for line in export())
    return Response(app_iter=lines, content_type="text/plain", charset="UTF-8")


@view_config(route_name="refresh", request_method=(*GET, "POST"), renderer="json", **RUNS)
def refresh(request: Request) -> dict[str, Any]:
    project_id = request.matchdict["project_id"]
    if request.method != "POST":
        return dict(refreshes.last(project_id))
    # A thread has a context of its own: it is the request's if one gives it that.
    work = contextvars.copy_context()
    threading.Thread(target=work.run, args=(refreshes.run, project_id)).start()
    request.response.status = 202
    return {}


@view_config(route_name="whoami", request_method=GET, renderer="json")
def whoami(request: Request) -> dict[str, Any]:  # noqa: ARG001
    return describe(current_principal())


@view_config(route_name="health", request_method=GET, renderer="json")
def health(request: Request) -> dict[str, Any]:  # noqa: ARG001
    return {"status": "ok"}


@exception_view_config(EndpointError, renderer="json")
def explain(error: EndpointError, request: Request) -> dict[str, Any]:
    request.response.status = error.status
    return {"detail": error.detail}


@notfound_view_config(renderer="json")
def not_served(request: Request) -> dict[str, Any]:
    # A path that a route has, but none of its views for the method: to Pyramid that is a 404 too.
    status = HTTPStatus.METHOD_NOT_ALLOWED if request.matched_route else HTTPStatus.NOT_FOUND
    request.response.status = status
    return {"detail": status.phrase}


def sent(request: Request) -> dict[str, Any]:
    return parse_object(request.body)


def make_app() -> Any:
    project = "/api/projects/{project_id}"
    with Configurator() as config:
        config.include("keymw.integrations.pyramid")
        config.add_route("list", f"{project}/endpoints")
        config.add_route("detail", f"{project}/endpoints/{{name}}")
        config.add_route("run", f"{project}/endpoints/{{name}}/run")
        config.add_route("export", f"{project}/export")
        config.add_route("refresh", f"{project}/refresh")
        config.add_route("whoami", "/whoami")
        config.add_route("health", "/health")
        config.scan(__name__)
        return config.make_wsgi_app()


app = KeyAuthMiddleware(make_app(), keys)
