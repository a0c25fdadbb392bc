"""Saved endpoints in plain WSGI, with no framework: people configure them, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    PYTHONPATH=examples waitress-serve --listen=127.0.0.1:8000 wsgi_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

What is guarded is a WSGI app of its own; it finds its project where the router below leaves it, in
`wsgiorg.routing_args`.
"""

from __future__ import annotations

import contextvars
import json
import os
import re
import threading
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

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
    from collections.abc import Callable, Iterable

    Environ = dict[str, Any]
    StartResponse = Callable[..., Callable[[bytes], object]]
    App = Callable[[Environ, StartResponse], Iterable[bytes]]

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


@reads
def list_endpoints(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, endpoints.of(**parameters_of(environ)))


@writes
def create(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    fields = parse_object(body_of(environ))
    endpoint = endpoints.create(**parameters_of(environ), fields=fields)
    return respond(start_response, asdict(endpoint), 201)


@reads
def show(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, asdict(endpoints.get(**parameters_of(environ))))


@writes
def update(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    fields = parse_object(body_of(environ))
    endpoint = endpoints.update(**parameters_of(environ), fields=fields)
    return respond(start_response, asdict(endpoint))


@writes
def delete(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    endpoints.delete(**parameters_of(environ))
    return respond(start_response, None, 204)


@runs
def run_endpoint(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    endpoint = endpoints.get(**parameters_of(environ))
    query = environ.get("QUERY_STRING", "")
    parameters: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if environ["REQUEST_METHOD"] == "POST":
        parameters = parse_object(body_of(environ))
    return respond(start_response, endpoint.run(parameters))


@runs
def export_orders(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return (line.encode() for line in export())


@runs
def refresh(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    # A thread has a context of its own: it is the request's if one gives it that.
    work = contextvars.copy_context()
    project_id = parameters_of(environ)["project_id"]
    threading.Thread(target=work.run, args=(refreshes.run, project_id)).start()
    return respond(start_response, {}, 202)


@runs
def last_refresh(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, refreshes.last(**parameters_of(environ)))


def whoami(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001
    return respond(start_response, describe(current_principal()))


def health(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:  # noqa: ARG001
    return respond(start_response, {"status": "ok"})


PROJECT = "/api/projects/(?P<project_id>[^/]+)"
ROUTES: list[tuple[str, dict[str, App]]] = [
    (f"{PROJECT}/endpoints", {"GET": list_endpoints, "POST": create}),
    (f"{PROJECT}/endpoints/(?P<name>[^/]+)", {"GET": show, "PATCH": update, "DELETE": delete}),
    (f"{PROJECT}/endpoints/(?P<name>[^/]+)/run", {"GET": run_endpoint, "POST": run_endpoint}),
    (f"{PROJECT}/export", {"GET": export_orders}),
    (f"{PROJECT}/refresh", {"GET": last_refresh, "POST": refresh}),
    ("/whoami", {"GET": whoami}),
    ("/health", {"GET": health}),
]


def route(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Call the app that a path and a method are for; HEAD is a GET whose body is not sent."""
    method = environ["REQUEST_METHOD"]
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    for pattern, methods in ROUTES:
        match = re.fullmatch(pattern, path)
        if match is None:
            continue
        app = methods.get("GET" if method == "HEAD" else method)
        if app is None:
            allowed = ("Allow", ", ".join([*methods, "HEAD"]))
            return respond(start_response, {"detail": "Method Not Allowed"}, 405, allowed)
        environ["wsgiorg.routing_args"] = ((), match.groupdict())
        try:
            body = app(environ, start_response)
        except EndpointError as error:
            body = respond(start_response, {"detail": error.detail}, error.status)
        return [] if method == "HEAD" else body
    return respond(start_response, {"detail": "Not Found"}, 404)


def parameters_of(environ: Environ) -> dict[str, str]:
    """Return what the router has found in the path."""
    found: dict[str, str] = environ["wsgiorg.routing_args"][1]
    return found


def body_of(environ: Environ) -> bytes:
    """Return the whole body of a request."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def respond(
    start_response: StartResponse, document: object, status: int = 200, *fields: tuple[str, str]
) -> Iterable[bytes]:
    """Answer with a JSON document; None is no body."""
    body = b"" if document is None else json.dumps(document).encode()
    headers = [*fields]
    if body:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{int(status)} {HTTPStatus(status).phrase}", headers)
    return [body]


app = KeyAuthMiddleware(route, keys)
