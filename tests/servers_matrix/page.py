"""The tables of `docs/servers.md`."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import tables
from servers_matrix.cases import CASES
from servers_matrix.declared import SERVERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servers_matrix.declared import Server
    from servers_matrix.measured import Measured

    Table = tuple[list[str], list[list[str]]]

PAGE = Path(__file__).parents[2] / "docs" / "servers.md"
FACES = {"asgi": "ASGI servers", "wsgi": "WSGI servers"}
COMMANDS = "commands"


def served(face: str) -> list[Server]:
    """Return the servers of a kind of app."""
    return [server for server in SERVERS if server.face == face]


def names(face: str) -> list[str]:
    """Return the names of the cases that are sent to the servers of a kind of app."""
    return [case.name for case in CASES if face in case.faces]


def answers(face: str, measured: Mapping[str, Measured]) -> Table:
    """Return the table of cases and servers."""
    columns = [server.name for server in served(face)]
    rows = [
        [name, *(measured[column].outcomes[name] for column in columns)] for name in names(face)
    ]
    return ["what is sent", *columns], rows


def commands() -> Table:
    """Return the table of versions and command lines."""
    rows = [[server.name, server.versions, f"`{server.advice}`"] for server in SERVERS]
    return ["server", "measured", "started with"], rows


def write(measured: Mapping[str, Measured]) -> None:
    """Write the page's tables anew."""
    tables.write(PAGE, COMMANDS, *commands())
    for face, title in FACES.items():
        tables.write(PAGE, title, *answers(face, measured))


def documented(server: Server) -> dict[str, str]:
    """Return what the page says that a server's outcomes are."""
    header, *rows = tables.read(PAGE, FACES[server.face])
    column = header.index(server.name)
    return {row[0]: row[column] for row in rows}


def binding(server: Server) -> bool:
    """Say whether the page tells of this Python, as far as the server reads requests by it."""
    (versions,) = (row[1] for row in tables.read(PAGE, COMMANDS)[1:] if row[0] == server.name)
    minor = ".".join(platform.python_version_tuple()[:2])
    return "Python" not in server.packages or f"Python {minor}." in versions
