"""The users' own handlers see refusals as they see any HTTP error, and exceptions stay theirs."""

from __future__ import annotations

import functools
import json

import pytest
from fastapi import FastAPI, HTTPException, Request
from flask import Blueprint, Flask
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.exceptions import HTTPException as WerkzeugHTTPException

from decorators.apps import MAKERS, PLACES
from decorators.asking import KIND, MISSING, NARROW, check_problem
from decorators.fastapi_views import fastapi_app
from decorators.flask_views import flask_app
from decorators.guards import guard, who
from decorators.starlette_views import starlette_app, starlette_async


def restyle(request, error):
    return JSONResponse(
        {"oops": error.detail}, status_code=error.status_code, headers=error.headers
    )


async def restyle_async(request, error):
    return restyle(request, error)


STYLES = {
    "class": {StarletteHTTPException: restyle},
    "class-async": {StarletteHTTPException: restyle_async},
    "status": {401: restyle, 403: restyle_async},
    "both": {401: restyle, StarletteHTTPException: restyle},
}


def check_restyled(answer, status, detail):
    assert answer.status == status
    assert json.loads(answer.body) == {"oops": detail}
    assert answer.headers["www-authenticate"].startswith('Bearer realm="keymw"')
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Authorization"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
@pytest.mark.parametrize("style", STYLES)
def test_exception_handlers_restyle(ask, wrap, machine, framework, style, place):
    app = wrap(MAKERS[framework](exception_handlers=STYLES[style]), place)
    check_restyled(ask(app, "/humans"), 401, MISSING[2])
    check_restyled(ask(app, "/humans", machine), 403, KIND[2])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_handler_for_fastapis_own_exception_restyles(ask, wrap, machine, place):
    app = fastapi_app()
    app.add_exception_handler(HTTPException, restyle)
    app = wrap(app, place)
    check_restyled(ask(app, "/humans"), 401, MISSING[2])
    check_restyled(ask(app, "/humans", machine), 403, KIND[2])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_handler_for_one_status_leaves_the_others(ask, wrap, machine, place):
    app = wrap(starlette_app(exception_handlers={403: restyle}), place)
    check_problem(ask(app, "/humans"), *MISSING)
    check_restyled(ask(app, "/humans", machine), 403, KIND[2])


@pytest.mark.usefixtures("quiet")
def test_a_handler_for_something_else_changes_nothing(ask, wrap, machine):
    app = wrap(starlette_app(exception_handlers={404: restyle, KeyError: restyle, 500: restyle}))
    check_problem(ask(app, "/humans"), *MISSING)
    check_problem(ask(app, "/humans", machine), *KIND)


@pytest.mark.usefixtures("quiet")
def test_a_mounted_apps_handlers_count_inside_of_it(ask, wrap):
    styled = Starlette(routes=[Route("/in", starlette_async)], exception_handlers={401: restyle})
    plain = Starlette(routes=[Route("/in", starlette_async)])
    app = Starlette(
        routes=[Mount("/styled", styled), Mount("/plain", plain)],
    )
    app = wrap(app)
    check_restyled(ask(app, "/styled/in"), 401, MISSING[2])
    check_problem(ask(app, "/plain/in"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_a_wrapped_default_handler_is_the_users_own(ask, wrap):
    """Tracing and logging tools wrap handlers; what they make of the answer is wanted."""
    from fastapi.exception_handlers import http_exception_handler

    @functools.wraps(http_exception_handler)
    async def traced(request, error):
        response = await http_exception_handler(request, error)
        response.headers["X-Trace"] = "1"
        return response

    app = fastapi_app()
    app.add_exception_handler(StarletteHTTPException, traced)
    assert ask(wrap(app), "/humans").headers["x-trace"] == "1"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "which", [(401, 403), (WerkzeugHTTPException,), (Unauthorized, Forbidden)], ids=str
)
@pytest.mark.parametrize("blueprint", [False, True])
def test_flasks_error_handlers_restyle(ask, wrap, narrow, which, place, blueprint):
    app, part = Flask(__name__), Blueprint("part", __name__)

    @part.get("/sync")
    @guard
    def view():
        return who()

    def handler(error):
        response = error.get_response()
        response.data = json.dumps({"oops": error.description})
        response.content_type = "application/json"
        return response

    for kind in which:
        (part if blueprint else app).register_error_handler(kind, handler)
    app.register_blueprint(part)
    app = wrap(app, place)
    check_restyled(ask(app, "/sync"), 401, MISSING[2])
    check_restyled(ask(app, "/sync", narrow), 403, NARROW[2])


@pytest.mark.usefixtures("quiet")
def test_a_flask_handler_for_one_status_leaves_the_others(ask, wrap, narrow):
    app = flask_app()
    app.register_error_handler(403, lambda error: ("mine", 403))
    app = wrap(app)
    check_problem(ask(app, "/sync"), *MISSING)
    assert ask(app, "/sync", narrow).body == b"mine"


@pytest.mark.usefixtures("quiet")
def test_what_flask_shows_of_a_refusal(ask, wrap, narrow):
    app, seen = flask_app(), []

    @app.errorhandler(WerkzeugHTTPException)
    def handler(error):
        seen.append((error.code, error.name, error.description))
        return error

    app = wrap(app)
    check_problem(ask(app, "/sync"), *MISSING)
    check_problem(ask(app, "/sync", narrow), *NARROW)
    assert seen == [(401, "Unauthorized", MISSING[2]), (403, "Forbidden", NARROW[2])]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
@pytest.mark.parametrize("error", [StarletteHTTPException, ValueError])
def test_the_apps_own_exceptions_are_untouched(ask, wrap, machine, framework, place, error):
    class Teapot(Exception):  # noqa: N818
        pass

    if framework == "flask":
        app = Flask(__name__)
        app.config["PROPAGATE_EXCEPTIONS"] = True

        @app.get("/")
        @guard
        def view():
            raise Teapot

    else:

        async def boom(request: Request):
            raise Teapot

        app = Starlette() if framework == "starlette" else FastAPI()
        app.add_route("/", guard(boom))
    with pytest.raises(Teapot):
        ask(wrap(app, place), "/", machine)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_the_apps_own_http_exceptions_keep_their_form(ask, wrap, machine, place):
    app = FastAPI()

    @app.get("/")
    @guard
    async def view():
        raise HTTPException(403, {"mine": True}, headers={"X-Mine": "1"})

    answer = ask(wrap(app, place), "/", machine)
    assert answer.status == 403
    assert json.loads(answer.body) == {"detail": {"mine": True}}
    assert answer.headers["x-mine"] == "1"
    assert "www-authenticate" not in answer.headers
