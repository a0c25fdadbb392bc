"""The WSGI contenders: each wraps an app and lets a request with a known key through."""

from __future__ import annotations

from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any

from hit_known import MAX_LENGTH
from keymw import KeyKind, require_scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hit_known import Known

    Environ = dict[str, Any]
    StartResponse = Callable[..., Callable[[bytes], object]]
    App = Callable[[Environ, StartResponse], Iterable[bytes]]

_HEADERS = [("Content-Type", "application/json"), ("Content-Length", "2")]
_BODY = [b"{}"]


def app(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer at once."""
    start_response("200 OK", _HEADERS)
    return _BODY


def app_with_view(*demand: str) -> App:
    """Return an app that calls a view, which demands what is given, if anything."""

    def view() -> None:
        return None

    if demand:
        view = require_scopes(*demand, kinds=tuple(KeyKind))(view)

    def serve(_environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        view()
        start_response("200 OK", _HEADERS)
        return _BODY

    return serve


class PassThrough:
    """Adds nothing but its own call: what every contender is measured against."""

    def __init__(self, app: App) -> None:
        self.app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        return self.app(environ, start_response)


class Floor:
    """Look up, sha256, dict: no less can tell whose key it is. It takes what it should refuse."""

    def __init__(self, app: App, known: Known) -> None:
        self.app = app
        self.known = known

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        value = environ.get("HTTP_AUTHORIZATION", "")
        if sha256(value[7:].encode("latin-1")).digest() in self.known:
            return self.app(environ, start_response)
        return _refuse(start_response, "401 Unauthorized")


class HandWritten:
    """What a careful team writes for itself: keymw's duties on a hit, without keymw.

    Servers join duplicates with a comma, and a joined value has no digest that is known.
    """

    def __init__(self, app: App, known: Known) -> None:
        self.app = app
        self.known = known

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        value = environ.get("HTTP_AUTHORIZATION")
        if value is None or len(value) > MAX_LENGTH or value[:7].lower() != "bearer ":
            return _refuse(start_response, "401 Unauthorized")
        user = self.known.get(sha256(value[7:].encode("latin-1")).digest())
        if user is None or monotonic() >= user.deadline:
            return _refuse(start_response, "401 Unauthorized")

        def respond(
            status: str, headers: list[tuple[str, str]], *exc_info: Any
        ) -> Callable[[bytes], object]:
            return start_response(status, [*headers, ("Vary", "Authorization")], *exc_info)

        environ["user"] = user
        environ["scopes"] = user.scopes
        return self.app(environ, respond)


def _refuse(start_response: StartResponse, status: str) -> Iterable[bytes]:
    start_response(status, [])
    return [b""]


def make_request(headers: list[tuple[bytes, bytes]]) -> Environ:
    """Return an environ as a WSGI server makes it: duplicates are joined with a comma."""
    environ: Environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/api/projects/2/endpoints/daily/run",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        variable = name.decode().upper().replace("-", "_")
        if variable != "CONTENT_TYPE":
            variable = f"HTTP_{variable}"
        text = value.decode("latin-1")
        environ[variable] = f"{environ[variable]},{text}" if variable in environ else text
    return environ


def _discard(_chunk: bytes) -> None:
    pass


def _start(_status: str, _headers: list[tuple[str, str]], *_exc_info: Any) -> Any:
    return _discard


def drive(app: App, environ: Environ, times: int) -> None:
    """Serve the request `times` times, each on an environ of its own, as a server does."""
    for _ in range(times):
        for _chunk in app(dict(environ), _start):
            pass


def ask(wrap: Callable[[App], App], environ: Environ) -> tuple[int, str, str]:
    """Return status, `Vary`, and whom the app saw, for one request."""
    seen: list[str] = []
    sent: list[tuple[str, dict[str, str]]] = []

    def look(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        user = environ.get("user") or environ.get("keymw.principal")
        seen.append("" if user is None else str(user.display_name))
        return app(environ, start_response)

    def record(status: str, headers: list[tuple[str, str]], *_exc_info: Any) -> Any:
        sent.append((status, dict(headers)))
        return _discard

    b"".join(wrap(look)(dict(environ), record))
    status, headers = sent[0]
    return int(status[:3]), headers.get("Vary", headers.get("vary", "")), "".join(seen)
