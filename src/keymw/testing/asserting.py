"""An assertion on what a route demands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.enforcing import demands_of
from keymw.policy import make_demand
from keymw.principals import KeyKind
from keymw.routes import Route, list_routes
from keymw.routes.route import ANY, name_of, plainly

if TYPE_CHECKING:
    from collections.abc import Iterable


def assert_demands(
    view_or_app: object,
    path: str | None = None,
    method: str = "GET",
    *,
    scopes: Iterable[str],
    kinds: Iterable[KeyKind | str] = (KeyKind.PERSONAL,),
    project: str | None = None,
) -> None:
    """Fail unless a route demands exactly this.

    Args:
        view_or_app: an app, with the `path` of one of its routes; or, without a path, a view.
        path: as `keymw routes` prints it; types of parameters may be left out.
        method: of the route; `"WEBSOCKET"` for one. HEAD is what GET is.
        scopes: all that it takes, in any order; with what `rules=` demands.
        kinds: the kinds of key that it takes, as `require_scopes` has them by default.
        project: the path parameter that must be the key's project.

    Raises:
        AssertionError: it does not; the message says what it demands instead, or which routes
            there are.
        InvalidInput: a scope or kind is not one, or the app's routes cannot be listed.
    """
    wanted = make_demand(tuple(scopes), kinds, project)
    if path is None:
        found = Route(ANY, "", name_of(view_or_app), demands_of(view_or_app))
    else:
        found = _find(list_routes(view_or_app), path, method.upper())
    shown = f"{found.method} {found.path} ({found.view})" if path else found.view
    if found.closed:
        raise AssertionError(f"{shown} is refused by the rules, whatever the key.")
    if found.is_open:
        raise AssertionError(f"{shown} demands nothing.")
    problems = [
        f"{what} are {_words(its)}, not {_words(ours)}"
        for what, its, ours in (
            ("scopes", found.scopes, wanted.scopes),
            ("kinds", found.kinds, wanted.kinds),
            ("project parameters", found.projects, [project] if project else []),
        )
        if set(its) != set(ours)
    ]
    if problems:
        raise AssertionError(f"{shown} demands something else: its {'; its '.join(problems)}.")


def _find(routes: list[Route], path: str, method: str) -> Route:
    """Return the route that serves a method of a path."""
    method = "GET" if method == "HEAD" and ("HEAD", path) not in _names(routes) else method
    for name in (method, ANY):
        for route in routes:
            if route.method == name and plainly(route.path) == plainly(path):
                return route
    there = ", ".join(sorted({f"{route.method} {route.path}" for route in routes}))
    raise AssertionError(f"There is no route {method} {path}, but: {there or 'none at all'}.")


def _names(routes: list[Route]) -> set[tuple[str, str]]:
    return {(route.method, route.path) for route in routes}


def _words(values: Iterable[str]) -> str:
    return ", ".join(sorted(values)) or "none"
