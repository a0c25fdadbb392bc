"""The demo's servers: uvicorn workers and a private Redis, gone when the demo is."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

_EXAMPLES = Path(__file__).parents[1]
#: Seconds that a server gets to start or to stop.
_PATIENCE = 20.0
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REDIS = ("redis-server", "valkey-server")


class Servers:
    """Starts servers in a temporary folder; `logs()` is all that they ever say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def database(self) -> str:
        """URL of the database."""
        return f"sqlite:///{self.folder}/keymw.db"

    def _start(
        self,
        name: str,
        *command: str,
        env: Mapping[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[bytes]:
        with self._log(name).open("wb") as log:
            process = self._processes[name] = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                cwd=_EXAMPLES,
                env=env,
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which stops them in order
            )
        return process

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"

    def start_redis(self) -> tuple[str | None, str]:
        """Start a private Redis if one is installed; return its URL, and what was found."""
        program = next(filter(None, map(shutil.which, _REDIS)), None)
        if program is None:
            return None, f"none: no {' or '.join(_REDIS)} is installed, so it goes on without L2"
        found = f"{program} {_version(program)}"
        path = self.folder / "redis.sock"
        settings = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir")
        process = self._start("redis", program, *settings, str(self.folder))
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(path)) == 0:
                    return f"unix://{path}", f"{found}, on a private Unix socket"
            time.sleep(0.01)
        return None, f"none: {found} did not start, so it goes on without L2\n{self.logs()}"

    def start_worker(self, name: str, redis: str | None) -> str:
        """Start a uvicorn on a free port of the loopback interface; return its URL once it serves.

        Raises:
            RuntimeError: it does not start.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KEYMW_")}
        environment["KEYMW_DATABASE_URL"] = self.database
        if redis is not None:
            environment["KEYMW_REDIS_URL"] = redis
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            descriptor = listener.fileno()
            process = self._start(
                name,
                *(sys.executable, "-m", "demo_stage.worker", str(descriptor)),
                env=environment,
                pass_fds=(descriptor,),
            )
        deadline = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/health", timeout=1, trust_env=False).raise_for_status()
            except httpx.TransportError:
                time.sleep(0.01)
            else:
                return url
        raise RuntimeError(f"{name} did not start.")

    def check(self) -> None:
        """Raise `RuntimeError` if a server has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended with status {process.returncode}.")

    def logs(self) -> str:
        """Return what the servers have said."""
        texts = {name: self._log(name).read_text(errors="replace") for name in self._processes}
        return "\n".join(f"--- {name}\n{text.rstrip()}" for name, text in texts.items() if text)

    def stop(self) -> None:
        """End every server; those that do not listen, by force."""
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _version(program: str) -> str:
    said = subprocess.run(  # noqa: S603 - found on the path
        [program, "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"v=(\S+)", said.stdout)
    return found[1] if found else "of unknown version"


@contextmanager
def servers() -> Iterator[Servers]:
    """Give a place to start servers in; afterwards none of them and nothing of it is left."""
    with ExitStack() as stack:
        for number in _ENDINGS:
            stack.callback(signal.signal, number, signal.getsignal(number))
            # What `nohup` has the demo ignore, it goes on to ignore.
            if number != signal.SIGINT and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _end)
        folder = stack.enter_context(TemporaryDirectory(prefix="keymw-demo-"))
        place = Servers(Path(folder))
        stack.callback(place.stop)
        stack.callback(_be_deaf)
        yield place


def _be_deaf() -> None:
    """Let nothing come between the demo and its cleaning up, such as a second Ctrl-C."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
