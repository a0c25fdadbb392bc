"""Saved endpoints in Falcon: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    gunicorn --pythonpath examples falcon_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

`falcon_asgi_endpoints.py` is the same under ASGI.
"""

from __future__ import annotations

import os
from contextvars import copy_context
from dataclasses import asdict
from threading import Thread
from typing import Any

import falcon
from falcon import Request, Response

from endpoints_data import (
    EndpointError,
    Refreshes,
    SavedEndpoints,
    describe,
    export,
    parse_object,
)
from keymw import KeyKind, KeyService, ScopeCatalog, Settings, current_principal, require_scopes
from keymw.integrations.falcon import key_hook
from keymw.wsgi import KeyAuthMiddleware

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
#: As a hook, for all responders of a resource.
runs = falcon.before(
    key_hook(
        "endpoint:read", kinds=[KeyKind.PROJECT_SECRET, KeyKind.PERSONAL], project="project_id"
    )
)


class EndpointList:
    """The endpoints of a project."""

    @reads
    def on_get(self, req: Request, resp: Response, project_id: str) -> None:  # noqa: ARG002
        """List them."""
        resp.media = endpoints.of(project_id)

    on_head = on_get

    @writes
    def on_post(self, req: Request, resp: Response, project_id: str) -> None:
        """Save a new one."""
        fields = parse_object(req.bounded_stream.read())
        resp.media = asdict(endpoints.create(project_id, fields))
        resp.status = falcon.HTTP_201


class EndpointDetail:
    """One endpoint."""

    @reads
    def on_get(self, req: Request, resp: Response, **endpoint: str) -> None:  # noqa: ARG002
        """Show it."""
        resp.media = asdict(endpoints.get(**endpoint))

    on_head = on_get

    @writes
    def on_patch(self, req: Request, resp: Response, **endpoint: str) -> None:
        """Change what it asks."""
        fields = parse_object(req.bounded_stream.read())
        resp.media = asdict(endpoints.update(**endpoint, fields=fields))

    @writes
    def on_delete(self, req: Request, resp: Response, **endpoint: str) -> None:  # noqa: ARG002
        """Forget it."""
        endpoints.delete(**endpoint)
        resp.status = falcon.HTTP_204


@runs
class Run:
    """The answers to a saved question."""

    def on_get(self, req: Request, resp: Response, **endpoint: str) -> None:
        """Run it with the query's parameters."""
        query = falcon.uri.parse_query_string(req.query_string, keep_blank=True)
        last = {key: value if isinstance(value, str) else value[-1] for key, value in query.items()}
        resp.media = endpoints.get(**endpoint).run(last)

    on_head = on_get

    def on_post(self, req: Request, resp: Response, **endpoint: str) -> None:
        """Run it with the body's parameters."""
        found = endpoints.get(**endpoint)
        resp.media = found.run(parse_object(req.bounded_stream.read()))


@runs
class Export:
    """The orders themselves."""

    def on_get(self, req: Request, resp: Response, project_id: str) -> None:  # noqa: ARG002
        """Stream them."""
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = (line.encode() for line in export())


@runs
class Refresh:
    """Work that goes on after the answer."""

    def on_post(self, req: Request, resp: Response, project_id: str) -> None:  # noqa: ARG002
        """Start it; a new thread has a context of its own unless it is given this one."""
        Thread(target=copy_context().run, args=(refreshes.run, project_id)).start()
        resp.media = {}
        resp.status = falcon.HTTP_202

    def on_get(self, req: Request, resp: Response, project_id: str) -> None:  # noqa: ARG002
        """Show who has asked for the last one."""
        resp.media = refreshes.last(project_id)


class WhoAmI:
    """Who the request is."""

    def on_get(self, req: Request, resp: Response) -> None:  # noqa: ARG002
        """Show it."""
        resp.media = describe(current_principal())

    on_head = on_get


class Health:
    """Whether the app runs."""

    def on_get(self, req: Request, resp: Response) -> None:  # noqa: ARG002
        """Say so."""
        resp.media = {"status": "ok"}

    on_head = on_get


def explain(
    req: Request,  # noqa: ARG001
    resp: Response,
    error: EndpointError,
    params: dict[str, Any],  # noqa: ARG001
) -> None:
    resp.status = error.status
    resp.media = {"detail": error.detail}


def not_served(
    req: Request,  # noqa: ARG001
    resp: Response,
    error: falcon.HTTPError,
    params: dict[str, Any],  # noqa: ARG001
) -> None:
    resp.status = error.status
    resp.set_headers(error.headers or {})
    resp.media = {"detail": error.title.partition(" ")[2]}


falcon_app = falcon.App()
project = "/api/projects/{project_id}"
falcon_app.add_route(f"{project}/endpoints", EndpointList())
falcon_app.add_route(f"{project}/endpoints/{{name}}", EndpointDetail())
falcon_app.add_route(f"{project}/endpoints/{{name}}/run", Run())
falcon_app.add_route(f"{project}/export", Export())
falcon_app.add_route(f"{project}/refresh", Refresh())
falcon_app.add_route("/whoami", WhoAmI())
falcon_app.add_route("/health", Health())
falcon_app.add_error_handler(EndpointError, explain)
falcon_app.add_error_handler(falcon.HTTPNotFound, not_served)
falcon_app.add_error_handler(falcon.HTTPMethodNotAllowed, not_served)

app = KeyAuthMiddleware(falcon_app, keys)
