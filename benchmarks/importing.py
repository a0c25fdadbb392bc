"""What a large import costs, and how long others wait meanwhile: `make bench-import`.

A CSV file of random digests, twenty keys a project, goes through `keymw import` as a process of its
own: its time is that of the whole command, its memory the most that it had resident. Meanwhile this
process issues keys and revokes them, one after the other, and notes how long each of these changes
took, with all the patience that it needs: a change that waits may be the one as well as the other.
The same is measured a second time, when every key is there already. The database is a new one on
this machine, with its default settings.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from keymw import KeyService, Settings
from revocation_figures import machine
from revocation_servers import find_postgres, place, start_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from revocation_servers import Place

_KEYS_A_PROJECT = 20
#: Seconds between a revoke and the next key.
_PAUSE = 0.02
_PATIENCE = Settings(store_timeout=600.0)
_MEGABYTE = 1024  # `ru_maxrss` is in kilobytes


@dataclass(frozen=True)
class Figures:
    """What one run has taken."""

    seconds: float
    megabytes: float
    changes: list[float]


def write(path: Path, rows: int) -> None:
    """Write a file of keys."""
    with path.open("w") as file:
        file.write("kind,project,label,digest,scopes,mask\n")
        for number in range(rows):
            project, label = divmod(number, _KEYS_A_PROJECT)
            digest = secrets.token_hex(32)
            file.write(
                f"project_secret,{project},key {label},sha256${digest},endpoint:read,phs_...\n"
            )


def run(path: Path, url: str, column: str, rows: int) -> Figures:
    """Import the file, revoke meanwhile, and see that the report says what it should."""
    command = [sys.executable, "-m", "keymw", "import", str(path), "--json"]
    environment = {**os.environ, "KEYMW_DATABASE_URL": url, "KEYMW_REDIS_URL": ""}
    changes: list[float] = []
    with KeyService(url, settings=_PATIENCE) as keys:
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            asked = time.monotonic()
            issued = keys.issue_project_key("apart", "key", ["endpoint:read"])
            made = time.monotonic()
            keys.revoke(issued.key.id)
            changes += [made - asked, time.monotonic() - made]
            time.sleep(_PAUSE)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    with process:
        said = json.load(process.stdout) if process.stdout else {}
    if process.returncode or said[column] != rows:
        raise RuntimeError(f"The import went wrong: {said}")
    return Figures(seconds, usage.ru_maxrss / _MEGABYTE, changes)


def measure(found: Place, rows: int, *, sqlite: bool) -> None:
    """Measure both runs on one database, and print them."""
    programs = None if sqlite else find_postgres()
    if programs is None:
        url, name = f"sqlite:///{found.folder}/keymw.db", "SQLite"
    else:
        url, name = start_postgres(found, programs)
    with KeyService(url) as keys:
        keys.migrate()
    path = found.folder / "keys.csv"
    write(path, rows)
    print(f"{name}, {rows:,} rows ({path.stat().st_size / 1e6:.1f} MB)")
    for what, column in (("new", "new"), ("there already", "known")):
        figures = run(path, url, column, rows)
        waits = sorted(figures.changes) or [0.0]
        pace = rows / figures.seconds
        print(
            f"{what + ':':15} {figures.seconds:.1f} s, {pace:,.0f} rows a second, "
            f"{figures.megabytes:.0f} MB; {len(figures.changes)} changes meanwhile: "
            f"median {1000 * waits[len(waits) // 2]:.1f} ms, longest {1000 * waits[-1]:.1f} ms"
        )


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, type=click.IntRange(1))
@click.option("--sqlite", is_flag=True, help="Use SQLite though there is a PostgreSQL.")
@click.option("--quick", is_flag=True, help="Only show that it works; the figures mean nothing.")
def main(*, rows: int, sqlite: bool, quick: bool) -> None:
    """Measure what a large import costs."""
    rows = min(rows, 3000) if quick else rows
    facts = machine()
    print(f"{facts['python']}, {facts['cpus']} CPUs ({facts['cpu']})")
    with place() as found:
        try:
            measure(found, rows, sqlite=sqlite)
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
