"""The example apps under real servers: processes of their own, on free loopback ports."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servers import _stop, _until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent.parent / "examples"

#: What each server may write when all is well: where it listens, and a line a request.
_ROUTINE = {
    "uvicorn": re.compile(r"INFO: .*"),
    "flask": re.compile(
        r" \* (Serving Flask app|Debug mode: off|Running on http).*|WARNING: This is a dev.*"
        r"|Press CTRL\+C to quit|[\d.]+ - - \[[^]]+\] \".*\" \d+ -|"
    ),
    "waitress": re.compile(r"INFO:waitress:Serving on http.*"),
}
#: waitress leaves its sockets to the end of the process. WebOb and Pyramid import what Python and
#: setuptools are about to drop.
_WARNINGS = {
    "waitress": (
        "error,ignore::ResourceWarning,ignore:'cgi' is deprecated:DeprecationWarning"
        ",ignore:pkg_resources is deprecated"
    )
}
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body) if self.body else None


class Served:
    """An app that is being served."""

    def __init__(self, program: str, path: Path) -> None:
        self.program = program
        #: Its log.
        self.path = path
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return _COLOUR.sub("", self.path.read_text())

    def complaints(self) -> list[str]:
        """Return the lines of the server's log that should not be there."""
        routine = _ROUTINE[self.program]
        return [line for line in self.log.splitlines() if not routine.fullmatch(line)]

    def is_up(self) -> bool:
        address = _ADDRESS.search(self.log)
        self.port = int(address[1]) if address else 0
        return address is not None

    def ask(self, method: str, path: str, *, token=None, headers=(), body=None) -> Answer:
        """Send one request, whose fields go out as they are given, duplicates too."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, path)
            if token is not None:
                connection.putheader("Authorization", f"Bearer {token}")
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())


#: How the examples' docstrings say that they are started.
_COMMANDS = {
    "uvicorn": lambda app: ["uvicorn", "--app-dir", str(EXAMPLES), _target(app), "--port", "0"],
    "flask": lambda app: ["flask", "--app", str(EXAMPLES / app), "run", "--port", "0"],
    "waitress": lambda app: ["waitress", "--listen=127.0.0.1:0", _target(app)],
}


def _target(app: str) -> str:
    """Return where a server finds the app; `module` is `module:app`."""
    return app if ":" in app else f"{app}:app"


@contextlib.contextmanager
def serve(program: str, app: str, folder: Path, **urls: str) -> Iterator[Served]:
    """Serve an example with `uvicorn`, `waitress` or `flask` from `folder` until the block ends.

    A server that has written anything but its routine lines by then has failed.

    Args:
        program: the server.
        app: the example's name, and `:attribute` where the app is not named `app`.
        folder: where it runs, and leaves its log.
        urls: `database` and `redis`; the example's defaults where they are not given.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KEYMW_", "FLASK_"))}
    environment |= {f"KEYMW_{name.upper()}_URL": url for name, url in urls.items()}
    # A busy machine is no fault of the app's: it is not to be told of a slow Redis.
    environment |= {"PYTHONWARNINGS": _WARNINGS.get(program, "error"), "KEYMW_REDIS_TIMEOUT": "20"}
    environment["PYTHONPATH"] = str(EXAMPLES)
    served = Served(program, folder / f"{app.replace(':', '-')}.log")
    with served.path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *_COMMANDS[program](app)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=environment,
        )

    def is_up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{app} did not start:\n{served.log}")
        return served.is_up()

    try:
        _until(is_up, app)
        yield served
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        _stop(process)
    if complaints := served.complaints():
        raise AssertionError("\n".join([f"{app} has written:", *complaints]))
