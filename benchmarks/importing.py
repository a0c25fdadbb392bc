"""What a large import costs, and how long others wait meanwhile: `make bench-import`.

A CSV file of random digests, twenty keys a project, goes through `keymw import` as a process of its
own: its time is that of the whole command, its memory the most that it had resident by its own
account. Meanwhile this process issues keys and revokes them, and notes how long each of these
changes took, with all the patience that it needs. Somebody wants a change at every fiftieth of a
second: those who would have asked while a change was waiting have waited too, from then on. So a
wait that began before the copying and ended after it counts whole, in the median as well. How many
waited longer than `store_timeout` is told: on SQLite these would have failed.

The same is measured a second time, when every key is there already. The database is a new one on
this machine, with its default settings.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from keymw import KeyService, Settings
from report import machine
from revocation_servers import find_postgres, place, start_postgres

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from revocation_servers import Place

_KEYS_A_PROJECT = 20
#: Seconds between two changes that somebody wants.
_INTERVAL = 0.02
_TIMEOUT = Settings().store_timeout
_PATIENCE = Settings(store_timeout=600.0)
#: Says at its end what it had resident at the most. `ru_maxrss` would not do: it begins with what
#: the process had that started this one.
_PROGRAM = """
import atexit, re, runpy, sys
status = "/proc/self/status"

def say():
    print(re.search(r"VmHWM:\\s+(\\d+)", open(status).read())[1], file=sys.stderr)

atexit.register(say)
runpy.run_module("keymw", run_name="__main__")
"""
_MEGABYTE = 1024  # in its kilobytes


@dataclass(frozen=True)
class Figures:
    """What one run has taken."""

    seconds: float
    megabytes: float
    #: How long each change waited that somebody wanted, in seconds.
    waits: list[float]


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


def waits_of(asked: float, done: float) -> list[float]:
    """Return how long a change took, and those that would have been asked for meanwhile."""
    missed = int((done - asked) / _INTERVAL)
    return [done - asked - number * _INTERVAL for number in range(missed + 1)]


def changes(keys: KeyService) -> Generator[None, None, None]:
    """Issue a key, revoke it, and so on; none is left in the end."""
    while True:
        issued = keys.issue_project_key("apart", "key", ["endpoint:read"])
        try:
            yield
        finally:
            keys.revoke(issued.key.id)
        yield


def run(path: Path, url: str, column: str, rows: int) -> Figures:
    """Import the file, change keys meanwhile, and see that the report says what it should."""
    command = [sys.executable, "-c", _PROGRAM, "import", str(path), "--json"]
    environment = {**os.environ, "KEYMW_DATABASE_URL": url, "KEYMW_REDIS_URL": ""}
    waits: list[float] = []
    with (
        KeyService(url, settings=_PATIENCE) as keys,
        tempfile.TemporaryFile("w+") as said,
        tempfile.TemporaryFile("w+") as complained,
    ):
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=complained)
        ended: list[float] = []

        def wait() -> None:
            process.wait()
            ended.append(time.monotonic())

        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        with closing(changes(keys)) as change:
            while waiter.is_alive():
                asked = time.monotonic()
                next(change)
                done = time.monotonic()
                waits += waits_of(asked, done)
                time.sleep(max(0.0, _INTERVAL - (done - asked)))
        waiter.join()
        said.seek(0)
        complained.seek(0)
        report, trouble = said.read(), complained.read()
    found = json.loads(report) if report else {}
    if process.returncode or found.get(column) != rows:
        raise RuntimeError(f"The import went wrong: {report}{trouble}")
    return Figures(ended[0] - started, int(trouble.split()[-1]) / _MEGABYTE, waits)


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
        waits = sorted(figures.waits)
        late = sum(wait > _TIMEOUT for wait in waits)
        pace = rows / figures.seconds
        print(
            f"{what + ':':15} {figures.seconds:.1f} s, {pace:,.0f} rows a second, "
            f"{figures.megabytes:.0f} MB; {len(waits)} changes wanted meanwhile: "
            f"median {1000 * waits[len(waits) // 2]:.1f} ms, longest {1000 * waits[-1]:.1f} ms, "
            f"{late} beyond store_timeout ({_TIMEOUT:g} s)"
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
