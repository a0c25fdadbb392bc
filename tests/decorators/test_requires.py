"""Starlette's own `requires` beside ours."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from decorators.apps import PLACES
from decorators.asking import NARROW, check_problem
from decorators.starlette_views import starlette_async
from keymw import AsyncKeyService, ScopeCatalog
from keymw import asgi as asgi_face


@requires("endpoint:read")
async def starlette_read(request):
    return PlainTextResponse("in")


@requires("endpoint:write")
def starlette_write(request):
    return PlainTextResponse("in")


@requires("authenticated")
async def starlette_authenticated(request):
    return PlainTextResponse(request.user.display_name)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("kind", "scopes", "read", "write"),
    [
        (None, [], 403, 403),
        ("project_secret", ["other:read"], 403, 403),
        ("project_secret", ["endpoint:read"], 200, 403),
        ("project_secret", ["endpoint:write"], 200, 200),
        ("project_secret", ["other:write"], 403, 403),
        ("personal", ["endpoint:write"], 200, 200),
        ("personal", ["*"], 200, 200),
    ],
)
def test_starlettes_requires(ask, wrap, keys, kind, scopes, read, write, place):
    token = None
    if kind == "personal":
        token = keys.issue_personal_key("ann", "a", scopes).token
    elif kind is not None:
        token = keys.issue_project_key("2", "a", scopes).token
    app = Starlette(
        routes=[
            Route("/read", starlette_read),
            Route("/write", starlette_write),
            Route("/authenticated", starlette_authenticated),
        ]
    )
    app = wrap(app, place)
    assert ask(app, "/read", token).status == read
    assert ask(app, "/write", token).status == write
    assert ask(app, "/authenticated", token).status == (403 if token is None else 200)


def test_a_catalog_narrows_requires_too(ask, keys, sqlite_url):
    token = keys.issue_project_key("2", "a", ["endpoint:read", "flag:read"]).token
    catalog = ScopeCatalog({"endpoint": ("read",), "flag": ("read",)}, ["flag:read"])
    narrowed = AsyncKeyService(sqlite_url, catalog=catalog)
    app = Starlette(routes=[Route("/read", starlette_read), Route("/async", starlette_async)])
    app = asgi_face.KeyAuthMiddleware(app, narrowed)
    assert ask(app, "/read", token).status == 403
    check_problem(ask(app, "/async", token), *NARROW)
