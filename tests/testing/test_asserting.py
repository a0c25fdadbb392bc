"""`assert_demands`, and what it says when it fails."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Route, WebSocketRoute

from keymw import InvalidInput, require_scopes
from keymw.asgi import KeyAuthMiddleware
from keymw.rules import Rule, Rules
from keymw.testing import assert_demands, async_memory_service
from testing.apps import flask_app, starlette_app

BOTH = ["personal", "project_secret"]
KNOWN = {"scopes": ["item:read"], "kinds": BOTH, "project": "project_id"}


@require_scopes("item:read", "flag:read")
async def view(request): ...


async def unguarded(request): ...


APP = Starlette(
    routes=[
        Route("/items/{number:int}", view, methods=["GET", "POST"]),
        Route("/open", unguarded),
        WebSocketRoute("/socket", view),
    ]
)


@pytest.mark.parametrize("make", [starlette_app, flask_app])
def test_a_route_of_an_app(make, keymw_service, keymw_async_service):
    app = make(keymw_async_service if make is starlette_app else keymw_service)
    for method in ("GET", "HEAD"):
        assert_demands(app, "/projects/{project_id}/items", method, **KNOWN)
    with pytest.raises(AssertionError, match="its kinds are"):
        assert_demands(app, "/projects/{project_id}/items", **(KNOWN | {"kinds": ["personal"]}))
    with pytest.raises(AssertionError, match="project parameters are project_id, not none"):
        assert_demands(app, "/projects/{project_id}/items", **(KNOWN | {"project": None}))


def test_a_view_by_itself():
    assert_demands(view, scopes=["flag:read", "item:read"])
    with pytest.raises(AssertionError, match="view demands something else: its scopes are flag"):
        assert_demands(view, scopes=["item:read"])
    with pytest.raises(AssertionError, match="unguarded demands nothing"):
        assert_demands(unguarded, scopes=[])


def test_types_may_be_left_out():
    for path in ("/items/{number}", "/items/{number:int}"):
        assert_demands(APP, path, "post", scopes=["item:read", "flag:read"])
    assert_demands(APP, "/socket", "websocket", scopes=["item:read", "flag:read"])


def test_what_is_not_there_or_open():
    with pytest.raises(AssertionError, match=r"no route DELETE /items/\{number\}, but: GET"):
        assert_demands(APP, "/items/{number}", "DELETE", scopes=["item:read"])
    with pytest.raises(AssertionError, match=r"/open .* demands nothing"):
        assert_demands(APP, "/open", scopes=["item:read"])


def test_with_rules():
    rules = Rules([Rule("GET", "/open", ["item:read"], project=None)], default="deny")
    app = KeyAuthMiddleware(APP, async_memory_service(), rules=rules)
    assert_demands(app, "/open", scopes=["item:read"])
    with pytest.raises(AssertionError, match="refused by the rules"):
        assert_demands(app, "/items/{number}", scopes=["item:read", "flag:read"])


def test_bad_input():
    for call in (
        lambda: assert_demands(APP, "/open", scopes="item:read"),
        lambda: assert_demands(APP, "/open", scopes=["item:read"], kinds=["robot"]),
        lambda: assert_demands(object(), "/open", scopes=["item:read"]),
    ):
        with pytest.raises(InvalidInput):
            call()


def test_a_class_below_a_guarded_one_that_is_not_guarded_itself():
    """Its own `dispatch` is what requests come to, whatever the one above demands."""

    @require_scopes("item:read")
    class Guarded(HTTPEndpoint):
        pass

    class Inheriting(Guarded):
        pass

    class Overriding(Guarded):
        async def dispatch(self): ...

    assert_demands(Guarded, scopes=["item:read"])
    assert_demands(Inheriting, scopes=["item:read"])
    with pytest.raises(AssertionError, match="demands nothing"):
        assert_demands(Overriding, scopes=["item:read"])
