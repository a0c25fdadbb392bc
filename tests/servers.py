"""Real servers for the tests: private, on Unix sockets in temporary folders, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 30.0


def _until(ready, what):
    deadline = time.monotonic() + _PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come up within {_PATIENCE} s")
        time.sleep(0.02)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _takes_queries(url: str) -> bool:
    """Say whether PostgreSQL is past its start, in which it refuses whoever connects."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def redis_server(folder: Path | None = None) -> Iterator[str]:
    """Run a private redis-server; gives its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed: run `sh .ci/servers`")
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kr")))
        path = folder / "redis.sock"
        process = subprocess.Popen(
            [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
        stack.callback(_stop, process)
        _until(lambda: _answers(path), "redis-server")
        yield f"unix://{path}"


def _postgres_program(name: str) -> str:
    found = shutil.which(name)
    if found and Path(found).resolve().name == name:
        return found
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    for folder in sorted(folders, reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    if found:
        return found
    raise RuntimeError(f"{name} is not installed: run `sh .ci/servers`")


def _postgres_account() -> dict[str, str]:
    """PostgreSQL refuses to run as root; where the tests do, it runs as somebody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return {"user": pwd.getpwnam(name).pw_name}
    raise RuntimeError("the tests run as root, and there is no user to run PostgreSQL as")


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Run a private PostgreSQL cluster; gives the URL of its database `postgres`."""
    account = _postgres_account()
    with tempfile.TemporaryDirectory(prefix="kp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        if account:
            shutil.chown(folder, account["user"])
        subprocess.run(
            [
                _postgres_program("initdb"),
                *("-D", str(folder / "data"), "-U", "keymw", "-A", "trust", "-E", "UTF8"),
                *("--no-sync", "--locale=C"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **account,
        )
        process = subprocess.Popen(
            [
                _postgres_program("postgres"),
                *("-D", str(folder / "data"), "-k", str(folder)),
                *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"),
                *("-c", "log_min_messages=fatal"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **account,
        )
        stack.callback(_stop, process)
        url = f"postgresql://keymw@/postgres?host={folder}"
        _until(lambda: _takes_queries(url), "PostgreSQL")
        yield url
