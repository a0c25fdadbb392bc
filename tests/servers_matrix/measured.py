"""Every server started once, sent every case; what it answered and what it wrote."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from keymw import KeyService
from keymw.tokens import generate
from servers import _stop, _until
from servers_matrix.cases import CASES
from servers_matrix.declared import SERVERS
from servers_matrix.raw import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from servers_matrix.cases import Case
    from servers_matrix.declared import Server

_TESTS = Path(__file__).parents[1]
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
#: How many servers run at once: starting one is most of the work.
_AT_ONCE = 3


@dataclass
class Measured:
    """What came of one server."""

    #: By the case's name.
    outcomes: dict[str, str] = field(default_factory=dict)
    #: Lines in its log that are not routine.
    complaints: list[str] = field(default_factory=list)


def measure_all(folder: Path) -> dict[str, Measured]:
    """Return what came of every server, by name."""
    tokens = issued(folder)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda server: measure(server, tokens, folder), SERVERS)
        return {server.name: result for server, result in zip(SERVERS, found, strict=True)}


def issued(folder: Path) -> dict[bytes, bytes]:
    """Make a database with two keys in a folder; return what the placeholders stand for."""
    with KeyService(f"sqlite:///{folder}/keymw.db") as keys:
        keys.migrate()
        tokens = {
            name: keys.issue_project_key("2", name, ["endpoint:read"]).token for name in ("A", "B")
        }
    tokens["C"] = generate("phs_")
    return {f"{{{name}}}".encode(): token.encode() for name, token in tokens.items()}


def measure(server: Server, tokens: Mapping[bytes, bytes], parent: Path) -> Measured:
    """Start one server in a folder of its own, with a copy of the database; send it all cases."""
    folder = parent / server.name.replace(", ", "-")
    folder.mkdir()
    shutil.copyfile(parent / "keymw.db", folder / "keymw.db")
    result = Measured()
    with _served(server, folder) as port:
        for case in CASES:
            if server.face in case.faces:
                result.outcomes[case.name] = outcome(case, tokens, port)
    result.complaints = complaints(server, (folder / "log").read_text(errors="replace"))
    return result


def outcome(case: Case, tokens: Mapping[bytes, bytes], port: int) -> str:
    """Send one case; return what came back, an outcome for each answer."""
    outcomes: list[str] = []
    with Wire(port, head=case.head) as wire:
        for part in case.sent:
            if wire.closing:
                outcomes.append("closed")
                break
            for placeholder, token in tokens.items():
                part = part.replace(placeholder, token)  # noqa: PLW2901
            wire.send(part)
            outcomes.append(wire.answer())
        outcomes += wire.rest()
    return ", ".join(outcomes)


def complaints(server: Server, log: str) -> list[str]:
    """Return the lines of a log that should not be there."""
    routine = re.compile(server.routine)
    lines = _COLOUR.sub("", log).splitlines()
    return [line for line in lines if line and not routine.fullmatch(line)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _served(server: Server, folder: Path) -> Iterator[int]:
    """Run a server until the block ends; gives its port."""
    port = _free_port()
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("KEYMW_", "COVERAGE_"))}
    environ |= {
        "KEYMW_DATABASE_URL": f"sqlite:///{folder}/keymw.db",
        "PYTHONPATH": str(_TESTS),
        "HOME": str(folder),
        "VIRTUAL_ENV": sys.prefix,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            server.arguments(port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environ,
        )

    def is_up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{server.name}:\n{(folder / 'log').read_text()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        _until(is_up, server.name)
        yield port
    finally:
        _stop(process)
