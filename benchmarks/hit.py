"""What a cache hit adds to a request, beside what other middleware adds: `make bench-hit`.

Each contender wraps the same app and gets the same request. They take turns in short rounds in one
process, and each is compared with its base in the same round: a machine that slows down for a
while slows both. The garbage collector stays on. Before anything is measured, each contender must
have given the right answers, and keymw's counters must show that L1 answered every request.
"""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

import hit_asgi
import hit_wsgi
from hit_checks import check
from hit_faces import (
    BASE,
    FLOOR,
    HAND_WRITTEN,
    KEYMW,
    PROJECT,
    SCOPES,
    STARLETTE,
    VIEW,
    Contender,
    Face,
)
from hit_known import LABEL, SCOPE, headers, known
from keymw import AsyncKeyService, KeyService, Settings
from keymw.asgi import KeyAuthMiddleware as AsgiMiddleware
from keymw.wsgi import KeyAuthMiddleware as WsgiMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Wrap = Callable[[Any], Any]

#: What keymw aims at: at most so many times what the other adds, or so many microseconds.
_OF_HAND_WRITTEN = 1.2
_OF_STARLETTE = 0.9
_SCOPE_CHECK = 0.25

#: Without an event loop nothing can be looked up again: the entry has to last.
_SETTINGS = Settings(max_age=3600.0)


@contextmanager
def asgi() -> Iterator[Face]:
    """Give the ASGI contenders."""
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as folder:
        keys = AsyncKeyService(f"sqlite:///{folder}/keymw.db", settings=_SETTINGS)

        async def issue() -> tuple[str, str]:
            await keys.migrate()
            good = await keys.issue_project_key("2", LABEL, [SCOPE])
            ended = await keys.issue_project_key("2", "ended", [SCOPE])
            await keys.revoke(ended.key.id)
            return good.token, ended.token

        def ask(wrap: Wrap, fields: list[tuple[bytes, bytes]]) -> tuple[int, str, str]:
            return runner.run(hit_asgi.ask(wrap, hit_asgi.make_request(fields)))

        good, ended = runner.run(issue())
        facts = known(good, ended)
        around: dict[str, Wrap] = {
            BASE: hit_asgi.PassThrough,
            FLOOR: partial(hit_asgi.Floor, known=facts),
            HAND_WRITTEN: partial(hit_asgi.HandWritten, known=facts),
            STARLETTE: partial(hit_asgi.starlette_middleware, known=facts),
            KEYMW: partial(AsgiMiddleware, keys=keys, required=True),
        }
        views = {
            VIEW: hit_asgi.app_with_view(),
            SCOPES: hit_asgi.app_with_view(SCOPE),
            PROJECT: hit_asgi.app_with_view(SCOPE, project="project_id"),
        }
        check_all("ASGI", around, ask, good, ended)
        request = hit_asgi.make_request(headers(good))
        apps = {name: wrap(hit_asgi.app) for name, wrap in around.items()}
        apps |= {name: around[KEYMW](app) for name, app in views.items()}
        yield Face(
            "ASGI",
            [Contender(name, partial(hit_asgi.drive, app, request)) for name, app in apps.items()],
            warm=lambda: runner.run(keys.verify(good)),
            count=lambda: keys.stats().l1_hits,
        )
        runner.run(keys.aclose())


@contextmanager
def wsgi() -> Iterator[Face]:
    """Give the WSGI contenders."""
    with (
        tempfile.TemporaryDirectory() as folder,
        KeyService(f"sqlite:///{folder}/keymw.db", settings=_SETTINGS) as keys,
    ):
        keys.migrate()
        good = keys.issue_project_key("2", LABEL, [SCOPE]).token
        second = keys.issue_project_key("2", "ended", [SCOPE])
        keys.revoke(second.key.id)

        def ask(wrap: Wrap, fields: list[tuple[bytes, bytes]]) -> tuple[int, str, str]:
            return hit_wsgi.ask(wrap, hit_wsgi.make_request(fields))

        facts = known(good, second.token)
        around: dict[str, Wrap] = {
            BASE: hit_wsgi.PassThrough,
            FLOOR: partial(hit_wsgi.Floor, known=facts),
            HAND_WRITTEN: partial(hit_wsgi.HandWritten, known=facts),
            KEYMW: partial(WsgiMiddleware, keys=keys, required=True),
        }
        views = {VIEW: hit_wsgi.app_with_view(), SCOPES: hit_wsgi.app_with_view(SCOPE)}
        check_all("WSGI", around, ask, good, second.token)
        request = hit_wsgi.make_request(headers(good))
        apps = {name: wrap(hit_wsgi.app) for name, wrap in around.items()}
        apps |= {name: around[KEYMW](app) for name, app in views.items()}
        yield Face(
            "WSGI",
            [Contender(name, partial(hit_wsgi.drive, app, request)) for name, app in apps.items()],
            warm=lambda: keys.verify(good),
            count=lambda: keys.stats().l1_hits,
        )


def check_all(face: str, around: dict[str, Wrap], ask: Any, good: str, ended: str) -> None:
    """Let every contender that checks keys show that it does."""
    for name, wrap in around.items():
        if name != BASE:
            duties = name in (HAND_WRITTEN, KEYMW)
            check(f"{face}: {name}", partial(ask, wrap), good, ended, duties=duties)


def targets(name: str, added: Mapping[str, float]) -> list[tuple[str, bool]]:
    """Return what keymw aims at in a row, and whether it is reached."""
    own = added[name]
    if name == SCOPES:
        return [(f"<= {_SCOPE_CHECK} us", own <= _SCOPE_CHECK)]
    if name != KEYMW:
        return []
    found = [
        (
            f"<= {_OF_HAND_WRITTEN} x hand-written",
            own <= _OF_HAND_WRITTEN * added[HAND_WRITTEN],
        )
    ]
    if STARLETTE in added:
        ratio = own / added[STARLETTE]
        found.append((f"<= {_OF_STARLETTE} x Starlette's", ratio <= _OF_STARLETTE))
    return found


def table(face: Face, runs: list[dict[str, float]]) -> Table:
    """Return the figures of all runs: their median, and how far they lie apart."""
    added = {name: median(run[name] for run in runs) for name in runs[0]}
    shown = Table(
        box=box.ASCII2,
        title=f"{face.name}: added to a request, {added[BASE]:.2f} us in a {BASE} middleware",
        title_justify="left",
    )
    shown.add_column("contender")
    for heading in ("added us", "lowest", "highest", "ratio"):
        shown.add_column(heading, justify="right")
    shown.add_column("promise")
    for contender in face.contenders:
        name = contender.name
        if name == BASE:
            continue
        figures = sorted(run[name] for run in runs)
        compares = contender.base == BASE and name != VIEW
        ratio = f"{added[name] / added[HAND_WRITTEN]:.2f}" if compares else ""
        promises = "\n".join(
            f"{text}: {'yes' if holds else 'NO'}" for text, holds in targets(name, added)
        )
        row = (added[name], figures[0], figures[-1])
        shown.add_row(name, *(f"{figure:.2f}" for figure in row), ratio, promises)
    return shown


@click.command()
@click.option("--quick", is_flag=True, help="Only show that it works; the figures mean nothing.")
def main(*, quick: bool) -> None:
    """Measure what a hit of keymw's L1 adds to a request."""
    runs, rounds, requests = (2, 2, 20) if quick else (5, 40, 1000)
    console = Console(width=100, highlight=False)
    console.print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"median of {runs} runs of {rounds} rounds of {requests} requests; garbage collector on.\n"
        "Requests are driven without an event loop: nothing in them suspends, and a loop would\n"
        "add the same time, and its noise, to every contender. The hand-written one has keymw's\n"
        "duties on a hit; ratios are to it. The require_scopes rows are what the decorator adds\n"
        "to the view above them."
    )
    for make in (asgi, wsgi):
        with make() as face:
            face.run(1, requests)  # warms caches and branch predictors; not counted
            results = [face.run(rounds, requests) for _ in range(runs)]
        console.print()
        console.print(table(face, results))


if __name__ == "__main__":
    main()
