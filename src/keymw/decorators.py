"""`require_scopes`: what a route demands, on any callable that a framework takes for a view."""

from __future__ import annotations

import inspect
import logging
import sys
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from keymw.access import KEY, current_principal
from keymw.connection import find_connection
from keymw.errors import MiddlewareMissing
from keymw.model import Granted
from keymw.policy import decide, make_demand
from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from keymw.access import Access
    from keymw.model import Demand

__all__ = ["current_principal", "require_scopes"]

log = logging.getLogger("keymw")

V = TypeVar("V", bound="Callable[..., Any]")


def require_scopes(
    *scopes: str,
    kinds: Iterable[KeyKind | str] = (KeyKind.PERSONAL,),
    project: str | None = None,
) -> Callable[[V], V]:
    """Let a view run only for a key that has all of the scopes.

    For functions and methods, `async` or not, generators, class-based views (the class or its
    methods) and WebSocket endpoints. The view needs no `request` parameter.

    Args:
        scopes: `object:read` or `object:write`; none of them: any valid key of the kinds.
        kinds: kinds of key that the route takes. Humans configure, machines execute: project
            secret keys are taken only where this says so.
        project: name of the path parameter that must be the key's project. Without it, the limits
            of a personal key are the view's to apply (`principal.projects`, `.organizations`).

    Raises:
        InvalidInput: (when decorating) a scope or kind is not one.
        TypeError: (when decorating) what is decorated is no view.
        MiddlewareMissing: (in a request) no `KeyAuthMiddleware` is around the app.
    """
    if any(callable(scope) for scope in scopes):
        raise TypeError('require_scopes takes scopes: write @require_scopes("object:read").')
    demand = make_demand(scopes, kinds, project)

    def decorate(view: V) -> V:
        guarded: V = _guard(view, demand)
        return guarded

    return decorate


def _guard(view: Any, demand: Demand, name: str = "") -> Any:
    if inspect.isclass(view):
        return _guard_class(view, demand)
    if not callable(view):
        raise TypeError(f"require_scopes decorates views, not {type(view).__name__}.")
    name = name or getattr(view, "__qualname__", repr(view))
    injected = ""

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        connection = kwargs.pop(injected, None) or find_connection(args, kwargs)
        _enforce(demand, name, connection)

    if inspect.iscoroutinefunction(view) or inspect.iscoroutinefunction(
        getattr(view, "__call__", None)  # noqa: B004 - asks how it is called, not whether
    ):

        @wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return await view(*args, **kwargs)

    else:

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return view(*args, **kwargs)

    guarded.__keymw_demand__ = demand  # type: ignore[attr-defined]
    if "fastapi" in sys.modules:
        from keymw.integrations import fastapi  # noqa: PLC0415 - the app's own

        injected = fastapi.declare(guarded, partial(_enforce, demand, name))
    return guarded


def _guard_class(view: Any, demand: Demand) -> Any:
    for method in ("dispatch", "dispatch_request"):
        if hasattr(view, method):
            setattr(view, method, _guard(getattr(view, method), demand, view.__qualname__))
            view.__keymw_demand__ = demand
            return view
    raise TypeError(f"{view.__qualname__} is no class-based view: it does not dispatch requests.")


def _enforce(demand: Demand, view: str, connection: MutableMapping[str, Any] | None) -> None:
    """Return if the request may go on; raise what its framework answers otherwise."""
    access: Access | None = None if connection is None else connection.get(KEY)
    if access is None or connection is None:
        error = MiddlewareMissing(view)
        log.error("%s", error)
        raise error
    verdict = access.verdict
    if isinstance(verdict, Granted):
        wanted = demand.project
        project = None if wanted is None else access.parameter(connection, wanted)
        denied = decide(verdict.principal, demand, project)
        if denied is None:
            return
    else:
        denied = verdict
    raise access.refusal(connection, denied)
