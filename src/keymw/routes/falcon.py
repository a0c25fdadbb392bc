"""Falcon, WSGI and ASGI: responders with their hooks, sinks and static routes."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from falcon import App
from falcon.routing import CompiledRouter

from keymw.enforcing import demands_of
from keymw.routes.route import ANY, REST, Route, methods_of, name_of, names_in, opaque

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from keymw.model import Demand

    Walk = Callable[[object], list[Route]]


def is_app(app: object) -> bool:
    """Say whether it is an app of Falcon's."""
    return isinstance(app, App)


def wrapped(app: Any) -> object:
    """Return the app: what is around it, is around the whole of it."""
    return app


def routes(app: Any, walk: Walk) -> Iterator[Route]:  # noqa: ARG001 - it mounts nothing
    """Yield an app's routes, in its router's tree and besides it."""
    if isinstance(app._router, CompiledRouter):  # noqa: SLF001 - as `falcon.inspect` does
        yield from _of_nodes(app._router._roots, "")  # noqa: SLF001
    else:
        yield opaque(app._router)  # noqa: SLF001
    for pattern, sink, _ in app._sinks:  # noqa: SLF001
        names = frozenset(pattern.groupindex)
        yield Route(ANY, _prefix(pattern) + REST, name_of(sink), _demands(sink), parameters=names)
    for static, _, _ in app._static_routes:  # noqa: SLF001
        yield Route("GET", static._prefix.rstrip("/") + REST, name_of(static))  # noqa: SLF001


def _of_nodes(nodes: Iterable[Any], parent: str) -> Iterator[Route]:
    for node in nodes:
        path = f"{parent}/{node.raw_segment}"
        if node.resource is not None:
            responders = {
                method: responder
                for method, responder in (node.method_map or {}).items()
                if not name_of(_function(responder)).startswith("responder_")
                and not getattr(_function(responder), "__module__", "").startswith("falcon.")
            }
            for method in methods_of(responders) if responders else ():
                view = responders[method]
                names = names_in(path)
                yield Route(
                    method, path, name_of(_function(view)), _demands(view), parameters=names
                )
        yield from _of_nodes(node.children, path)


def _function(responder: Any) -> Any:
    return responder.func if isinstance(responder, partial) else responder


def _demands(responder: Any) -> tuple[Demand, ...]:
    """Return what a responder demands, and what the hooks before it do."""
    found = list(demands_of(_function(responder)))
    # Falcon's hooks are functions around the responder, which only their closures know.
    each: Any = _function(responder)
    while each is not None:
        if getattr(getattr(each, "__code__", None), "co_name", "") == "do_before":
            known = inspect.getclosurevars(each).nonlocals
            action = known.get("sync_action") or known.get("async_action")
            found += demands_of(action)
        each = getattr(each, "__wrapped__", None)
    return tuple(found)


def _prefix(pattern: Any) -> str:
    return str(pattern.pattern).removeprefix("^").removesuffix("$").rstrip("/")
