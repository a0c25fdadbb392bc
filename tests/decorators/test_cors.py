"""A preflight of a browser carries no key: whoever answers preflights answers it, not we."""

from __future__ import annotations

import pytest
from starlette.middleware.cors import CORSMiddleware

from decorators.apps import MAKERS
from decorators.asking import MISSING, Answer, check_problem
from decorators.flask_views import flask_app
from decorators.starlette_views import starlette_app

ORIGIN = "https://app.example"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization",
}


def cors(app):
    return CORSMiddleware(app, allow_origins=[ORIGIN], allow_headers=["authorization"])


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("framework", [name for name in MAKERS if name != "flask"])
def test_cors_outside(ask, wrap, machine, framework, required):
    app = cors(wrap(MAKERS[framework](), required=required))
    allowed = ask(app, "/async", method="OPTIONS", headers=PREFLIGHT)
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-headers"]
    good = ask(app, "/async", machine, headers={"Origin": ORIGIN})
    assert (good.status, good.headers["access-control-allow-origin"]) == (200, ORIGIN)
    refused = ask(app, "/async", headers={"Origin": ORIGIN})
    assert refused.headers.pop("vary") == "Authorization, Origin"
    check_problem(
        Answer(401, [*refused.headers.items(), ("Vary", "Authorization")], refused.body), *MISSING
    )
    assert refused.headers["access-control-allow-origin"] == ORIGIN


def test_cors_inside(ask, wrap):
    app = wrap(cors(starlette_app()))
    assert ask(app, "/async", method="OPTIONS", headers=PREFLIGHT).status == 200


class WsgiCors:
    """As such a middleware is for WSGI."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        headers = [("Access-Control-Allow-Origin", ORIGIN)]
        if environ["REQUEST_METHOD"] == "OPTIONS":
            start_response("204 No Content", headers)
            return []

        def respond(status, fields, *exc_info):
            return start_response(status, fields + headers, *exc_info)

        return self.app(environ, respond)


@pytest.mark.parametrize("required", [False, True])
def test_cors_outside_of_wsgi(ask, wrap, machine, required):
    app = flask_app()
    app.wsgi_app = wrap(flask_app(), required=required)
    app.wsgi_app = WsgiCors(app.wsgi_app)
    assert ask(app, "/sync", method="OPTIONS", headers=PREFLIGHT).status == 204
    assert ask(app, "/sync", machine).status == 200
    refused = ask(app, "/sync")
    check_problem(refused, *MISSING)
    assert refused.headers["access-control-allow-origin"] == ORIGIN


def test_cors_inside_of_wsgi(ask, wrap):
    app = flask_app()
    app.wsgi_app = WsgiCors(app.wsgi_app)
    assert ask(wrap(app), "/sync", method="OPTIONS", headers=PREFLIGHT).status == 204
