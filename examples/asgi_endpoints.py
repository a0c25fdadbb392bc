"""Saved endpoints in plain ASGI, with no framework: people configure them, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    uvicorn --app-dir examples asgi_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

What is guarded is an ASGI app of its own; it finds its project where the router below leaves it,
in `path_params`.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
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
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

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


@reads
async def list_endpoints(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await respond(send, endpoints.of(scope["path_params"]["project_id"]))


@writes
async def create(scope: Scope, receive: Receive, send: Send) -> None:
    fields = parse_object(await body_of(receive))
    await respond(send, asdict(endpoints.create(scope["path_params"]["project_id"], fields)), 201)


@reads
async def show(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await respond(send, asdict(endpoints.get(**scope["path_params"])))


@writes
async def update(scope: Scope, receive: Receive, send: Send) -> None:
    fields = parse_object(await body_of(receive))
    await respond(send, asdict(endpoints.update(**scope["path_params"], fields=fields)))


@writes
async def delete(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    endpoints.delete(**scope["path_params"])
    await respond(send, None, 204)


@runs
async def run_endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    endpoint = endpoints.get(**scope["path_params"])
    query = scope["query_string"].decode("latin-1")
    parameters: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if scope["method"] == "POST":
        parameters = parse_object(await body_of(receive))
    await respond(send, endpoint.run(parameters))


@runs
async def export_orders(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    for line in export():
        await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
    await send({"type": "http.response.body"})


@runs
async def refresh(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await respond(send, {}, 202)
    refreshes.run(scope["path_params"]["project_id"])


@runs
async def last_refresh(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await respond(send, refreshes.last(scope["path_params"]["project_id"]))


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await respond(send, describe(current_principal()))


async def health(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await respond(send, {"status": "ok"})


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
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")


async def route(scope: Scope, receive: Receive, send: Send) -> None:
    """Call the app that a path and a method are for; HEAD is a GET whose body is not sent."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    method = scope["method"]
    for pattern, methods in ROUTES:
        match = re.fullmatch(pattern, scope["path"])
        if match is None:
            continue
        app = methods.get("GET" if method == "HEAD" else method)
        if app is None:
            allowed = ", ".join([*methods, "HEAD"]).encode()
            await respond(send, {"detail": "Method Not Allowed"}, 405, (b"allow", allowed))
            return
        if method == "HEAD":
            send = without_body(send)
        try:
            await app({**scope, "path_params": match.groupdict()}, receive, send)
        except EndpointError as error:
            await respond(send, {"detail": error.detail}, error.status)
        return
    await respond(send, {"detail": "Not Found"}, 404)


async def lifespan(receive: Receive, send: Send) -> None:
    """Say that there is nothing to start or to stop here; the middleware has."""
    for _ in range(2):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


async def body_of(receive: Receive) -> bytes:
    """Return the whole body of a request."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def respond(
    send: Send, document: object, status: int = 200, *fields: tuple[bytes, bytes]
) -> None:
    """Answer with a JSON document; None is no body."""
    body = b"" if document is None else json.dumps(document).encode()
    headers = [*fields, JSON, (b"content-length", str(len(body)).encode())] if body else [*fields]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


def without_body(send: Send) -> Send:
    """Return a `send` that leaves bodies out."""

    async def sends(message: Message) -> None:
        is_body = message["type"] == "http.response.body"
        await send({**message, "body": b""} if is_body else message)

    return sends


app = KeyAuthMiddleware(route, keys)
