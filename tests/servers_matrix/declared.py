"""The servers, one declaration each: how it is started with keymw, and what it may write."""

from __future__ import annotations

import platform
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

_APPS = {"asgi": "servers_matrix.asgi_app", "wsgi": "servers_matrix.wsgi_app"}

_UVICORN = r"INFO: .*|WARNING:  Invalid HTTP request received\."
#: Said of every WebSocket that is denied by an HTTP answer, whoever denies it.
_SANSIO = r"|ERROR:    ASGI callable returned without completing handshake\."
_GUNICORN = r"\[[^]]+\] \[\d+\] (\[INFO\] .*|\[WARNING\] Invalid request from ip=127\.0\.0\.1: .*)"
_ACCESS = r"(None|[\d.:]+) - - \[[^]]+\] \".*\" [-\d]+ [-\d]+"

#: What cannot be seen behind a server that passes on one of several fields.
_LAST_DUPLICATE = {
    "key A twice": "granted A",
    "key A, then key B": "granted B",
    "an unknown one, then key A": "granted A",
    "Basic, then key A": "granted A",
}
#: Nor behind one that takes a lone CR for the end of a line.
_CR_ENDS_LINES = {
    "CR and more after the key": "granted A",
    "key A after a CR in another field": "granted A",
}


@dataclass(frozen=True)
class Server:
    """A server with its ways of serving one kind of app."""

    name: str
    face: str
    #: The command line, with `{module}` and `{port}`.
    command: str
    #: What reads requests, whose versions the page names: packages, or Python itself.
    packages: tuple[str, ...]
    #: What it may write, a line: that it runs, what it answered, what it did not understand.
    routine: str
    #: Outcomes that are this server's doing, before keymw sees anything; the page says why.
    known: dict[str, str] = field(default_factory=dict)

    @property
    def versions(self) -> str:
        """What is measured here."""
        return ", ".join(f"{name} {_version(name)}" for name in self.packages)

    @property
    def advice(self) -> str:
        """The command line as people would write it."""
        return self.command.format(module="app", port=8000)

    def arguments(self, port: int) -> list[str]:
        """Return the command line that serves the measured app."""
        program, *rest = shlex.split(self.command.format(module=_APPS[self.face], port=port))
        folder = Path(sys.executable).parent
        found = shutil.which(program, path=folder)
        if found is None:
            raise RuntimeError(f"{program} is not installed beside {sys.executable}")
        return [found, *rest]


def _version(name: str) -> str:
    return platform.python_version() if name == "Python" else version(name)


SERVERS = (
    Server(
        "uvicorn, h11",
        "asgi",
        "uvicorn --http h11 --ws auto --port {port} {module}:app",
        ("uvicorn", "h11", "websockets"),
        _UVICORN + _SANSIO,
    ),
    Server(
        "uvicorn, httptools",
        "asgi",
        "uvicorn --http httptools --ws wsproto --workers 2 --port {port} {module}:app",
        ("uvicorn", "httptools", "wsproto"),
        _UVICORN,
        {"key A in a trailer": "granted A"},
    ),
    Server(
        "hypercorn",
        "asgi",
        "hypercorn --workers 2 --bind 127.0.0.1:{port} {module}:app",
        ("hypercorn", "h11", "wsproto"),
        r"\[[^]]+\] \[\d+\] \[INFO\] .*",
    ),
    Server(
        "granian",
        "asgi",
        "granian --interface asgi --workers 2 --port {port} {module}:app",
        ("granian",),
        r"\[INFO\] .*",
    ),
    Server(
        "daphne",
        "asgi",
        "daphne --port {port} {module}:app",
        ("daphne", "twisted"),
        rf"[-\d]+ [\d:,]+ INFO .*|{_ACCESS}",
        {"WebSocket, NBSP after the key": "granted A"},
    ),
    Server(
        "gunicorn, asgi",
        "asgi",
        "gunicorn --worker-class asgi --workers 2 --bind 127.0.0.1:{port} {module}:app",
        ("gunicorn",),
        _GUNICORN,
    ),
    Server(
        "gunicorn, sync",
        "wsgi",
        "gunicorn --workers 2 --bind 127.0.0.1:{port} {module}:app",
        ("gunicorn",),
        _GUNICORN,
    ),
    Server(
        "gunicorn, gthread",
        "wsgi",
        "gunicorn --worker-class gthread --threads 4 --bind 127.0.0.1:{port} {module}:app",
        ("gunicorn",),
        _GUNICORN,
    ),
    Server(
        "gunicorn, preload",
        "wsgi",
        "gunicorn --preload --workers 2 --threads 4 --bind 127.0.0.1:{port} {module}:app",
        ("gunicorn",),
        _GUNICORN,
    ),
    Server(
        "granian, wsgi",
        "wsgi",
        "granian --interface wsgi --workers 2 --blocking-threads 4 --port {port} {module}:app",
        ("granian",),
        r"\[INFO\] .*",
    ),
    Server(
        "waitress",
        "wsgi",
        "waitress-serve --listen=127.0.0.1:{port} {module}:app",
        ("waitress",),
        r"INFO:waitress:Serving on .*",
    ),
    Server(
        "uWSGI",
        "wsgi",
        "uwsgi --master --processes 2 --enable-threads --die-on-term --http-socket 127.0.0.1:{port}"
        " --module {module}:app",
        ("uwsgi",),
        r"(?!.*(rror|xception|Traceback)|  File ).*",
    ),
    Server(
        "cheroot",
        "wsgi",
        "cheroot --bind 127.0.0.1:{port} {module}:app",
        ("cheroot",),
        "",
        {
            **_LAST_DUPLICATE,
            "VT after the key": "granted A",
            "another scheme, key A in the fold": "granted A",
        },
    ),
    Server(
        "werkzeug",
        "wsgi",
        'python -c "from werkzeug.serving import run_simple; from {module} import app;'
        " run_simple('127.0.0.1', {port}, app, threaded=True)\"",
        ("werkzeug", "Python"),
        rf" \* Running on .*|WARNING: This is a dev.*|Press CTRL.C to quit|{_ACCESS}",
        _CR_ENDS_LINES,
    ),
    Server(
        "wsgiref",
        "wsgi",
        'python -c "from wsgiref.simple_server import make_server; from {module} import app;'
        " make_server('127.0.0.1', {port}, app).serve_forever()\"",
        ("Python",),
        _ACCESS,
        {
            **_CR_ENDS_LINES,
            "VT after the key": "granted A",
            "FS after the key": "granted A",
            "NEL after the key": "granted A",
            "NBSP after the key": "granted A",
            "NEL before the scheme": "granted A",
        },
    ),
)
