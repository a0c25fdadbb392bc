"""The same guarded route in several frameworks, and each one's own test client."""

from __future__ import annotations

import asyncio
import contextlib

import falcon
import falcon.testing
from fastapi import FastAPI
from fastapi.testclient import TestClient as FastAPIClient
from flask import Flask
from litestar.testing import TestClient as LitestarClient
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from keymw import asgi, current_principal, require_scopes, wsgi
from keymw.testing import async_memory_service, memory_service
from testing import litestar_app

guard = require_scopes("item:read", kinds=["project_secret", "personal"], project="project_id")
PATH = "/projects/2/items"


def who():
    return str(current_principal().identity)


def starlette_app(keys):
    @guard
    async def items(request):
        return PlainTextResponse(who())

    return Starlette(
        routes=[Route("/projects/{project_id}/items", items)],
        middleware=[Middleware(asgi.KeyAuthMiddleware, keys)],
    )


def flask_app(keys):
    app = Flask("items")
    app.wsgi_app = wsgi.KeyAuthMiddleware(app.wsgi_app, keys)

    @app.get("/projects/<project_id>/items")
    @guard
    def items(project_id):
        return who()

    return app


@contextlib.contextmanager
def _starlette():
    with TestClient(starlette_app(async_memory_service())) as client:
        yield lambda **headers: client.get(PATH, headers=headers).status_code


@contextlib.contextmanager
def _fastapi():
    app = FastAPI()

    @app.get("/projects/{project_id}/items")
    @guard
    def items(project_id):  # in a thread
        return who()

    app.add_middleware(asgi.KeyAuthMiddleware, keys=async_memory_service())
    with FastAPIClient(app) as client:
        yield lambda **headers: client.get(PATH, headers=headers).status_code


@contextlib.contextmanager
def _flask():
    client = flask_app(memory_service()).test_client()
    yield lambda **headers: client.get(PATH, headers=headers).status_code


@contextlib.contextmanager
def _litestar():
    app = asgi.KeyAuthMiddleware(litestar_app.app, async_memory_service())
    with LitestarClient(app) as client:
        yield lambda **headers: client.get(PATH, headers=headers).status_code


@contextlib.contextmanager
def _quart():
    app = Quart("items")
    app.asgi_app = asgi.KeyAuthMiddleware(app.asgi_app, async_memory_service())

    @app.get("/projects/<project_id>/items")
    @guard
    async def items(project_id):
        return who()

    async def ask(headers):
        return (await app.test_client().get(PATH, headers=headers)).status_code

    yield lambda **headers: asyncio.run(ask(headers))


@contextlib.contextmanager
def _falcon():
    class Items:
        @guard
        def on_get(self, req, resp, project_id):
            resp.text = who()

    app = falcon.App()
    app.add_route("/projects/{project_id}/items", Items())
    client = falcon.testing.TestClient(wsgi.KeyAuthMiddleware(app, memory_service()))
    yield lambda **headers: client.simulate_get(PATH, headers=headers).status_code


CLIENTS = {
    "starlette": _starlette,
    "fastapi": _fastapi,
    "flask": _flask,
    "litestar": _litestar,
    "quart": _quart,
    "falcon": _falcon,
}
