"""The benchmark's processes: private servers on Unix sockets and workers, gone when it is.

All lie in one temporary folder. Each is a session of its own, so that Ctrl-C is for the benchmark,
which stops them one by one, by their ids.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

_HERE = Path(__file__).parent
#: Seconds that a process gets to start or to stop.
_PATIENCE = 20.0
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Place:
    """A folder, and the processes that were started in it, in their order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[tuple[subprocess.Popen[bytes], signal.Signals]] = []

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        account: str | None = None,
        pass_fds: Sequence[int] = (),
        ending: signal.Signals = signal.SIGTERM,
    ) -> subprocess.Popen[bytes]:
        """Start a process; `ending` is the signal that stops it."""
        with undisturbed(), self._log(name).open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                user=account,
                pass_fds=pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._processes.append((process, ending))
        return process

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"

    def said(self, name: str) -> str:
        """Return what a process has printed."""
        return self._log(name).read_text(errors="replace").rstrip()

    def wait_for(
        self, name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]
    ) -> None:
        """Wait until a process is ready.

        Raises:
            RuntimeError: it has ended, or has not become ready in time.
        """
        deadline = time.monotonic() + _PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start.\n{self.said(name)}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End every process, the last one first; those that do not listen, by force."""
        with undisturbed():
            while self._processes:
                process, ending = self._processes.pop()
                process.send_signal(ending)
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def place() -> Iterator[Place]:
    """Give a place for processes; afterwards none of them and nothing of it is left."""
    with ExitStack() as stack:
        for number in _ENDINGS[1:]:
            stack.callback(signal.signal, number, signal.signal(number, _end))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kb-"))
        found = Place(Path(folder))
        stack.callback(found.stop)
        yield found


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put signals off that would end the benchmark between two steps that belong together."""
    caught: list[int] = []
    handlers = [
        (number, signal.signal(number, lambda number, _: caught.append(number)))
        for number in _ENDINGS
    ]
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
        for late in caught:
            signal.raise_signal(late)


def start_redis(place: Place) -> tuple[str, str]:
    """Start a Redis that keeps nothing on disk; return its URL, and which one it is.

    Raises:
        RuntimeError: there is none, or it does not start.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise RuntimeError("No redis-server is installed: run `sh .ci/servers`.")
    path = place.folder / "redis.sock"
    command = (program, "--port", "0", "--unixsocket", str(path), "--save", "")
    process = place.start("redis", command)

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    place.wait_for("redis", process, answers)
    return f"unix://{path}", f"{Path(program).name} {_version(program)}"


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest one's; None if there is none."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    folders.sort(key=lambda folder: [int(part) for part in re.findall(r"\d+", str(folder))])
    found = shutil.which("initdb")
    if found is not None:
        folders.insert(0, Path(found).resolve().parent)
    usable = [folder for folder in folders if (folder / "postgres").exists()]
    return usable[-1] if usable else None


def start_postgres(place: Place, programs: Path) -> tuple[str, str]:
    """Start a new PostgreSQL cluster, as it is by default; return its URL, and which one it is.

    Raises:
        RuntimeError: it does not start.
    """
    account = _postgres_account()
    if account is not None:
        shutil.chown(place.folder, account)
    data = place.folder / "data"
    made = place.start(
        "initdb",
        (programs / "initdb", "-D", data, "-U", "keymw", "-A", "trust", "-E", "UTF8", "--no-sync"),
        account=account,
    )
    if made.wait(_PATIENCE) != 0:
        raise RuntimeError(f"initdb failed.\n{place.said('initdb')}")
    process = place.start(
        "postgres",
        (programs / "postgres", "-D", data, "-k", place.folder, "-c", "listen_addresses="),
        account=account,
        ending=signal.SIGINT,  # without waiting for its clients
    )
    # It writes so as soon as, and only when, it takes connections.
    status = data / "postmaster.pid"

    def takes_queries() -> bool:
        with suppress(FileNotFoundError):
            return status.read_text().rstrip().endswith("ready")
        return False

    place.wait_for("postgres", process, takes_queries)
    version = f"PostgreSQL {_version(programs / 'postgres')}"
    return f"postgresql://keymw@/postgres?host={place.folder}", version


def _postgres_account() -> str | None:
    """PostgreSQL refuses to run as root; where the benchmark does, it runs as somebody else."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("There is no user to run PostgreSQL as: say --sqlite.")


def _version(program: str | Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout)
    return found[0] if found else "of unknown version"
