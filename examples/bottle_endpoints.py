"""Saved endpoints in Bottle: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    gunicorn --pythonpath examples bottle_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

`flask_endpoints.py` is the same in Flask.
"""

from __future__ import annotations

import contextvars
import json
import os
import threading
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bottle import Bottle, HTTPError, HTTPResponse, request, response

from endpoints_data import (
    EndpointError,
    Refreshes,
    SavedEndpoints,
    describe,
    export,
    parse_object,
)
from keymw import KeyKind, KeyService, ScopeCatalog, Settings, current_principal, require_scopes
from keymw.wsgi import KeyAuthMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

keys = KeyService(
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

bottle_app = Bottle()


def explaining(view: Callable[..., Any]) -> Callable[..., Any]:
    """Answer what the endpoints refuse: Bottle's way is a plugin around all views."""

    def explained(*args: Any, **kwargs: Any) -> Any:
        try:
            return view(*args, **kwargs)
        except EndpointError as error:
            return answer({"detail": error.detail}, error.status)

    return explained


bottle_app.install(explaining)

project = "/api/projects/<project_id>"


@bottle_app.get(f"{project}/endpoints")
@reads
def list_endpoints(project_id: str) -> HTTPResponse:
    return answer(endpoints.of(project_id))


@bottle_app.post(f"{project}/endpoints")
@writes
def create_endpoint(project_id: str) -> HTTPResponse:
    return answer(asdict(endpoints.create(project_id, sent())), 201)


@bottle_app.get(f"{project}/endpoints/<name>")
@reads
def show_endpoint(project_id: str, name: str) -> HTTPResponse:
    return answer(asdict(endpoints.get(project_id, name)))


@bottle_app.route(f"{project}/endpoints/<name>", method="PATCH")
@writes
def change_endpoint(project_id: str, name: str) -> HTTPResponse:
    return answer(asdict(endpoints.update(project_id, name, sent())))


@bottle_app.delete(f"{project}/endpoints/<name>")
@writes
def delete_endpoint(project_id: str, name: str) -> HTTPResponse:
    endpoints.delete(project_id, name)
    return HTTPResponse(status=204)


@bottle_app.route(f"{project}/endpoints/<name>/run", method=["GET", "POST"])
@runs
def run_endpoint(project_id: str, name: str) -> HTTPResponse:
    endpoint = endpoints.get(project_id, name)
    parameters = sent() if request.method == "POST" else dict(request.query.decode())
    return answer(endpoint.run(parameters))


@bottle_app.get(f"{project}/export")
@runs
def export_orders(project_id: str) -> Iterator[str]:  # noqa: ARG001
    response.content_type = "text/plain; charset=UTF-8"
    return export()


@bottle_app.post(f"{project}/refresh")
@runs
def refresh(project_id: str) -> HTTPResponse:
    # A thread has a context of its own: it is the request's if one gives it that.
    work = contextvars.copy_context()
    threading.Thread(target=work.run, args=(refreshes.run, project_id)).start()
    return answer({}, 202)


@bottle_app.get(f"{project}/refresh")
@runs
def last_refresh(project_id: str) -> HTTPResponse:
    return answer(refreshes.last(project_id))


@bottle_app.get("/whoami")
def whoami() -> HTTPResponse:
    return answer(describe(current_principal()))


@bottle_app.get("/health")
def health() -> HTTPResponse:
    return answer({"status": "ok"})


@bottle_app.error(404)
@bottle_app.error(405)
def not_served(error: HTTPError) -> str:
    response.content_type = "application/json"
    return json.dumps({"detail": HTTPStatus(error.status_code).phrase})


def answer(document: Any, status: int = 200) -> HTTPResponse:
    fields = {"Content-Type": "application/json"}
    return HTTPResponse(json.dumps(document), status, fields)


def sent() -> dict[str, Any]:
    return parse_object(request.body.read())


app = KeyAuthMiddleware(bottle_app, keys)
