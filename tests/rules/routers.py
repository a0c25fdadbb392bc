"""Real routers, and one that is sloppier than any: all serve the same routes."""

from __future__ import annotations

import asyncio
import io
import posixpath
import re
import unicodedata
from typing import NamedTuple
from urllib.parse import unquote

from keymw.access import KEY

#: The routes, in the templates of rules, in the order in which the rules have to stand.
ROUTES = (
    "/",
    "/health",
    "/admin",
    "/items/{number:int}",
    "/items/{name}",
    "/projects/{project_id}/runs",
    "/wiki/",
    "/files/{name:path}",
)


class Visit(NamedTuple):
    """What a route has served."""

    route: str
    parameters: dict[str, str]
    #: Whether a key came with it.
    has_key: bool


def visit(visits, route, connection, parameters):
    has_key = connection[KEY].principal.is_authenticated
    visits.append(Visit(route, {k: str(v) for k, v in parameters.items()}, has_key))
    return "served"


def starlette(visits):
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    def view(route, prefix=""):
        def serve(request):
            return PlainTextResponse(visit(visits, route, request.scope, request.path_params))

        return Route(route.removeprefix(prefix), serve, methods=["GET", "POST"])

    mounted = [view(route, "/items") for route in ROUTES if route.startswith("/items")]
    others = [view(route) for route in ROUTES if not route.startswith("/items")]
    return Starlette(routes=[*others[:3], Mount("/items", routes=mounted), *others[3:]])


def litestar(visits):
    from litestar import Litestar, Request, route

    def view(path):
        @route(path.replace("/{name}", "/{name:str}"), http_method=["GET"], name=path)
        async def serve(request: Request) -> str:
            return visit(visits, path, request.scope, request.path_params)

        return serve

    handlers = [view(path.replace("{project_id}", "{project_id:str}")) for path in ROUTES]
    return Litestar(handlers, openapi_config=None)


def quart(visits):
    from quart import Quart, request

    app = Quart(__name__)

    def view(route):
        async def serve(**parameters):
            return visit(visits, route, request.scope, parameters)

        app.add_url_rule(in_werkzeugs(route), route, serve, methods=["GET", "POST"])

    for route in ROUTES:
        view(route)
    return app


def flask(visits):
    from flask import Flask, request

    app = Flask(__name__, static_folder=None)

    def view(route):
        def serve(**parameters):
            return visit(visits, route, request.environ, parameters)

        app.add_url_rule(in_werkzeugs(route), route, serve, methods=["GET", "POST"])

    for route in ROUTES:
        view(route)
    return app


def in_werkzeugs(route):
    return re.sub(r"\{(\w+):?(\w*)\}", lambda m: f"<{m[2] + ':' if m[2] else ''}{m[1]}>", route)


def bottle(visits):
    from bottle import Bottle, request

    app = Bottle()

    def view(route):
        def serve(**parameters):
            return visit(visits, route, request.environ, parameters)

        app.route(re.sub(r"\{(\w+):?(\w*)\}", r"<\1:\2>", route).replace(":>", ">"), "ANY", serve)

    for route in ROUTES:
        view(route)
    return app


class _Resource:
    """A resource of Falcon's, for either face."""

    def __init__(self, visits, route, connection):
        self.visits, self.route, self.connection = visits, route, connection

    def on_get(self, request, response, **parameters):
        connection = getattr(request, self.connection)
        response.text = visit(self.visits, self.route, connection, parameters)

    on_post = on_get


class _AsyncResource(_Resource):
    async def on_get(self, request, response, **parameters):
        _Resource.on_get(self, request, response, **parameters)

    on_post = on_get


def falcon(visits):
    import falcon

    return _falcon(falcon.App(), visits, "env", _Resource)


def async_falcon(visits):
    import falcon.asgi

    return _falcon(falcon.asgi.App(), visits, "scope", _AsyncResource)


def _falcon(app, visits, connection, kind):
    app.req_options.strip_url_path_trailing_slash = True
    for route in ROUTES:
        if route != "/items/{name}":  # beside a converter Falcon takes nothing
            app.add_route(route, kind(visits, route, connection))
    return app


#: What the sloppy router may do with a path before it matches it.
HABITS = {
    "unquotes": unquote,
    "folds": str.casefold,
    "composes": lambda path: unicodedata.normalize("NFKC", path),
    "merges slashes": lambda path: re.sub(r"/+", "/", path),
    "turns backslashes": lambda path: path.replace("\\", "/"),
    "drops parameters": lambda path: re.sub(r";[^/]*", "", path),
    "resolves dots": lambda path: posixpath.normpath(path) + "/" * path.endswith("/"),
    "drops the last slash": lambda path: path.rstrip("/") or "/",
    "adds a last slash": lambda path: path.rstrip("/") + "/",
    "cuts the query": lambda path: path.partition("?")[0].partition("#")[0],
    "ends at NUL": lambda path: path.partition("\x00")[0],
    "trims": lambda path: "/".join(segment.strip() for segment in path.split("/")),
    "adds the first slash": lambda path: "/" + path.lstrip("/"),
}


def is_number(text):
    try:
        return float(text) == int(float(text))
    except (ValueError, OverflowError):
        return False


def sloppy(visits, habits):
    """Return a WSGI app that does all of this, and then matches segment by segment."""

    def app(environ, start_response):
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        for habit in habits:
            path = HABITS[habit](path)
        for route in ROUTES:
            parameters = _match(route.split("/"), path.split("/"))
            if parameters is not None:
                visit(visits, route, environ, parameters)
                break
        start_response("200 OK", [])
        return []

    return app


def _match(wanted, given):
    parameters = {}
    for place, segment in enumerate(wanted):
        name = segment.strip("{}")
        if name.endswith(":path"):
            return {**parameters, name: "/".join(given[place:])} if given[place:] else None
        if place >= len(given):
            return None
        if segment.startswith("{"):
            if not given[place] or (name.endswith(":int") and not is_number(given[place])):
                return None
            parameters[name.partition(":")[0]] = given[place]
        elif segment != given[place]:
            return None
    return parameters if len(given) == len(wanted) else None


ASGI = {"starlette": starlette, "litestar": litestar, "quart": quart, "falcon": async_falcon}
WSGI = {"flask": flask, "bottle": bottle, "falcon": falcon}


def ask_asgi(app, raw, root="", headers=()):
    """Send a request to an ASGI app as uvicorn does, and return the status."""
    statuses, bodies = [], [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        return bodies.pop() if bodies else await asyncio.Event().wait()

    async def send(message):
        statuses.extend([message["status"]] if "status" in message else [])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": root + unquote(raw),
        "raw_path": (root + raw).encode("latin-1", "replace"),
        "root_path": root,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 5),
    }
    asyncio.run(app(scope, receive, send))
    return statuses[0]


def ask_wsgi(app, raw, *, tells_raw=True):
    """Send a request to a WSGI app as servers do, and return the status."""
    statuses = []

    def start_response(status, headers, exc_info=None):
        statuses.append(int(status[:3]))
        return lambda _: None

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(raw).encode("utf-8", "surrogatepass").decode("latin-1"),
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if tells_raw:
        environ["REQUEST_URI"] = raw.encode().decode("latin-1")
    body = app(environ, start_response)
    b"".join(body)
    getattr(body, "close", lambda: None)()
    return statuses[0]
