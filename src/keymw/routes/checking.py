"""Demands that cannot be met: found when an app starts, not at its first request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput, UnmeetableDemand
from keymw.principals import KeyKind, granted_by
from keymw.routes.walking import imports_routes, list_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keymw.model import Demand
    from keymw.routes.route import Route
    from keymw.scopes import ScopeCatalog

log = logging.getLogger("keymw")


def check(
    app: object, catalog: ScopeCatalog | None = None, mounted_with: Iterable[str] = ()
) -> None:
    """Refuse an app with a route whose demand cannot be met.

    That is a `project=` that is no parameter of the route's path, or a scope that the catalog does
    not have, or not for any kind of key that the route takes.

    Args:
        app: as for `list_routes`; of one that cannot be listed, nothing is said.
        catalog: the service's; of routes within a middleware of their own, that one's counts.
        mounted_with: parameters of the path that the app is mounted at, which its routes have too.

    Raises:
        UnmeetableDemand: the message names every such route, and what to do.
    """
    try:
        routes = list_routes(app)
    except InvalidInput:
        return
    except Exception:
        # An app may have a framework's class and not its state. What is not understood is let
        # start: its decorators guard it all the same.
        log.debug("keymw: the routes of the app cannot be checked.", exc_info=True)
        return
    outer = frozenset(mounted_with)
    found = [
        f"{route}: {problem}"
        for route in routes
        for demand in route.own
        for problem in _problems(route, demand, route.catalog or catalog, outer)
    ]
    if found:
        raise UnmeetableDemand(list(dict.fromkeys(found)))


def check_made(app: object, catalog: ScopeCatalog | None) -> None:
    """Check an app that is just being made, as far as its routes are there already.

    Those of Django are left for later: to list them, what may be making the app is imported.
    """
    if not imports_routes(app):
        check(app, catalog)


def _problems(
    route: Route, demand: Demand, catalog: ScopeCatalog | None, outer: frozenset[str]
) -> Iterator[str]:
    """Yield what is wrong with a route's demand."""
    known = None if route.parameters is None else route.parameters | outer
    if demand.project is not None and known is not None and demand.project not in known:
        names = f"has {', '.join(sorted(known))}" if known else "has no parameter"
        yield (
            f"it demands project={demand.project!r}, but its path {names}: "
            "name the parameter that holds the project"
        )
    if catalog is None:
        return
    if unknown := demand.needed - granted_by(catalog.scopes):
        yield (
            f"it demands {min(unknown)!r}, which the service's ScopeCatalog does not have: "
            "correct it, or add it to the catalog"
        )
    elif demand.kinds == {KeyKind.PROJECT_SECRET} and (
        barred := demand.needed - catalog.project_secret
    ):
        yield (
            f"it demands {min(barred)!r} and takes project secret keys only, which may not hold "
            "it: add it to project_secret of the ScopeCatalog, or take personal keys"
        )
