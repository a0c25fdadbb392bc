"""The command that shows what every route demands, and finds those that demand nothing."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from keymw.cli import output as out
from keymw.cli.program import cli
from keymw.errors import KeymwError
from keymw.routes import check as check_demands
from keymw.routes import list_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keymw.routes import Route


@cli.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--app-dir", default=".", metavar="DIR", help="Where the module is.  [.]")
@click.option("--check", is_flag=True, help="Fail if a route demands nothing and is not --open.")
@click.option(
    "--open",
    "patterns",
    multiple=True,
    metavar="PATH",
    help="A route that is meant to demand nothing: /health, 'POST /hook' or '/static/*'. "
    "Repeat for several.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def routes(
    app: str, app_dir: str, patterns: tuple[str, ...], *, check: bool, as_json: bool
) -> None:
    """List every route of an app, with what it demands.

    MODULE:APP names the app as servers do: package.module:app, or package.module:create_app() for
    what makes one. With --check, the exit status is 1 if a route demands nothing and is not said to
    be --open, if an --open fits no such route, or if a route demands what no key can ever meet.
    """
    found = load(app, app_dir)
    listed = list_routes(found)
    if not listed:
        raise ValueError(f"{app} has no routes at all: is it the app that is served?")
    if as_json:
        out.document([_shown(route, patterns) for route in listed])
    else:
        out.print_routes(_rows(listed))
    if not check:
        return
    check_demands(found)
    problems = list(_problems(listed, patterns))
    for problem in problems:
        out.complain(problem)
    if problems:
        raise click.exceptions.Exit(1)


def load(named: str, folder: str) -> Any:
    """Return the app that `module:app` or `module:make()` names.

    Raises:
        ValueError: there is none; the message says what is missing.
    """
    module_name, colon, name = named.partition(":")
    if not module_name or not colon or not name:
        raise click.UsageError(f"{named!r} names no app: write module:app or module:create_app().")
    sys.path.insert(0, folder)
    path = name.removesuffix("()")
    try:
        found: Any = import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
        return found() if path != name else found
    except KeymwError:
        raise
    except (Exception, SystemExit) as error:
        # Whatever an app does when it is imported: it is the app's, and no defect of keymw.
        raise ValueError(f"{named} cannot be had: {type(error).__name__}: {error}") from error


def _problems(listed: Sequence[Route], patterns: Iterable[str]) -> Iterable[str]:
    """Yield what is to be done before every route is guarded, or said to be open."""
    is_open = [route for route in listed if route.is_open]
    for route in is_open:
        if not _fits(route, patterns):
            wanted = "does not tell its routes" if route.opaque else "demands nothing"
            yield f"{route} {wanted}: guard it, or say --open '{route.path}'."
    for pattern in patterns:
        if not any(_fits(route, [pattern]) for route in is_open):
            yield f"--open '{pattern}' fits no route that demands nothing: take it away."


def _fits(route: Route, patterns: Iterable[str]) -> bool:
    names = (route.path, f"{route.method} {route.path}")
    return any(fnmatchcase(name, _literal(pattern)) for name in names for pattern in patterns)


def _literal(pattern: str) -> str:
    """Return a pattern in which nothing but the star means anything else."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _rows(listed: Iterable[Route]) -> Iterable[tuple[str, ...]]:
    """Yield one row for the methods of a path that demand the same."""
    methods: dict[tuple[str, ...], list[str]] = {}
    for route in listed:
        row = (route.path, _scopes(route), ", ".join(route.kinds), ", ".join(route.projects))
        methods.setdefault(row, []).append(route.method)
    for (path, *rest), names in methods.items():
        yield ", ".join(dict.fromkeys(names)), path, *(text or "-" for text in rest)


def _scopes(route: Route) -> str:
    if route.closed:
        return "(refused)"
    if route.is_open:
        return "(unknown)" if route.opaque else "(open)"
    return ", ".join(route.scopes) or "(any key)"


def _shown(route: Route, patterns: Iterable[str]) -> dict[str, object]:
    return {
        "method": route.method,
        "path": route.path,
        "view": route.view,
        "demands": not route.is_open,
        "refused": route.closed,
        "unknown": route.opaque,
        "declared_open": route.is_open and _fits(route, patterns),
        "scopes": list(route.scopes),
        "kinds": list(route.kinds),
        "project": list(route.projects),
    }
