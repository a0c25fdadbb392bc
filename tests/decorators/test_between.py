"""Other middleware around and between, and more or less of ours."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from decorators.apps import MAKERS, PLACES, PROJECT_PATHS
from decorators.asking import KIND, MISSING, PROJECT, check_problem
from decorators.flask_views import flask_app
from decorators.starlette_views import (
    starlette_app,
    starlette_async,
    starlette_humans,
    starlette_open,
)
from keymw import asgi as asgi_face


class CopiesScope:
    """Any middleware that works on its own copy, as keymw's does."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(dict(scope), receive, send)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("framework", "path"), [row for row in PROJECT_PATHS if row[0] != "flask"])
def test_a_middleware_between_may_copy_the_scope(ask, wrap, machine, framework, path, place):
    app = MAKERS[framework]()
    app.add_middleware(CopiesScope)
    app = wrap(app, place)
    assert ask(app, path.format("2"), machine).status == 200
    check_problem(ask(app, path.format("3"), machine), *PROJECT)
    check_problem(ask(app, path.format("2")), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_a_middleware_between_may_copy_the_environ(ask, wrap, machine):
    app = flask_app()
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start_response: inner(dict(environ), start_response)
    app = wrap(app)
    assert ask(app, "/projects/2/x", machine).status == 200
    check_problem(ask(app, "/projects/3/x", machine), *PROJECT)
    check_problem(ask(app, "/sync"), *MISSING)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
def test_base_http_middleware_between(ask, wrap, machine, framework):
    from starlette.middleware.base import BaseHTTPMiddleware

    class Plain(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            return await call_next(request)

    app = MAKERS[framework]()
    app.add_middleware(Plain)
    app = wrap(app)
    assert ask(app, "/projects/2/x", machine).status == 200
    check_problem(ask(app, "/projects/3/x", machine), *PROJECT)
    check_problem(ask(app, "/async"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_what_a_middleware_inside_adds_to_a_refusal_is_kept(ask, wrap, machine):
    """Otherwise no browser could read why it was refused."""
    app = starlette_app(middleware=[Middleware(CORSMiddleware, allow_origins=["https://x.test"])])
    origin = {"Origin": "https://x.test"}
    wrapped = wrap(app)
    for path, token, status in (("/async", machine, 200), ("/async", None, 401)):
        answer = ask(wrapped, path, token, headers=origin)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://x.test"
        members = {member.strip() for member in answer.headers["vary"].split(",")}
        assert "Authorization" in members


@pytest.mark.usefixtures("quiet")
def test_what_flask_adds_to_a_refusal_is_kept(ask, wrap):
    app = flask_app()

    @app.after_request
    def mark(response):
        response.headers["X-Mark"] = "1"
        return response

    answer = ask(wrap(app), "/sync")
    check_problem(answer, *MISSING)
    assert answer.headers["x-mark"] == "1"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("framework", MAKERS)
def test_two_middlewares_are_as_good_as_one(ask, wrap, machine, narrow, framework):
    app = wrap(wrap(MAKERS[framework](), "framework"), "whole")
    assert ask(app, "/projects/2/x", machine).status == 200
    check_problem(ask(app, "/projects/3/x", machine), *PROJECT)
    check_problem(ask(app, "/humans", narrow), *KIND)
    check_problem(ask(app, "/humans"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_middleware_on_one_mount_or_route(ask, service, machine):
    ours = [Middleware(asgi_face.KeyAuthMiddleware, keys=service)]
    app = Starlette(
        routes=[
            Route("/open", starlette_open),
            Route("/route", starlette_async, middleware=ours),
            Mount("/mount", routes=[Route("/in", starlette_async)], middleware=ours),
        ]
    )
    for path in ("/route", "/mount/in"):
        assert ask(app, path, machine).body == b"machine"
        check_problem(ask(app, path), *MISSING)
    assert "vary" not in ask(app, "/open").headers


@pytest.mark.usefixtures("quiet")
def test_a_view_may_catch_the_refusal_of_another(ask, wrap, machine):
    """What the app answers after it has dealt with a refusal is the app's answer."""

    async def either(request):
        try:
            return await starlette_humans(request)
        except StarletteHTTPException:
            return PlainTextResponse("something for machines")

    app = wrap(Starlette(routes=[Route("/", either)]))
    assert ask(app, "/", machine).body == b"something for machines"


@pytest.mark.usefixtures("quiet")
def test_a_stream_may_go_on_after_a_refusal_it_has_caught(ask, wrap, machine):
    async def view(request):
        async def parts():
            yield "one "
            try:
                await starlette_humans(request)
            except StarletteHTTPException:
                yield "none "
            yield "two"

        return StreamingResponse(parts())

    app = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(app, "/", machine).body == b"one none two"
