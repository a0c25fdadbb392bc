"""A plain WSGI app that says who one is: what servers are measured with."""

from __future__ import annotations

from keymw import KeyService, current_principal, require_scopes
from keymw.wsgi import KeyAuthMiddleware


def answer(start_response, text, status="200 OK"):
    headers = [("Content-Length", str(len(text))), ("X-Answered-By", "app")]
    start_response(status, headers)
    return [text.encode()]


def whoami(environ, start_response):
    principal = current_principal()
    name = f"granted {principal.label}" if principal.is_authenticated else "anonymous"
    return answer(start_response, name)


guarded = require_scopes("endpoint:read", kinds=["project_secret"])(whoami)


def seen(environ, start_response):
    return answer(start_response, environ.get("HTTP_X_Y", "neither"))


ROUTES = {"/guarded": guarded, "/whoami": whoami, "/seen": seen}


def route(environ, start_response):
    view = ROUTES.get(environ["PATH_INFO"])
    if view is None:
        return answer(start_response, "no such path", "404 Not Found")
    return view(environ, start_response)


app = KeyAuthMiddleware(route, KeyService.from_env())
