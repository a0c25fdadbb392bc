"""`require_scopes`: what a route demands, on any callable that a framework takes for a view."""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from keymw.access import SCOPED, current_principal
from keymw.enforcing import DEMANDS, demands_of, enforce, is_met, unseen
from keymw.integrations import find, is_anothers, of, plain
from keymw.policy import make_demand
from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keymw.access import Connection
    from keymw.integrations import Integration
    from keymw.model import Demand

__all__ = ["current_principal", "demands_of", "require_scopes"]

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
        guarded: V = _guard_for(view)(view, demand)
        return guarded

    if "fastapi" in sys.modules:
        from keymw.integrations import fastapi  # noqa: PLC0415 - the app's own

        fastapi.is_no_dependency(decorate)
    return decorate


def _guard_for(view: object) -> Callable[[Any, Demand], Any]:
    """Return what guards a view of this sort."""
    if inspect.isclass(view):
        if "pyramid.request" in sys.modules:
            from keymw.integrations import pyramid  # noqa: PLC0415 - the app's own

            if pyramid.is_view(view):
                return pyramid.guard
        return _guard_class
    if isinstance(view, (staticmethod, classmethod)):
        return _guard_method
    if "litestar.handlers" in sys.modules:
        from keymw.integrations import litestar  # noqa: PLC0415 - the app's own

        if litestar.is_handler(view):
            return litestar.guard
    return _guard


def _guard(view: Any, demand: Demand, name: str = "") -> Any:
    if not callable(view):
        raise TypeError(f"require_scopes decorates views, not {type(view).__name__}.")
    name = name or getattr(view, "__qualname__", repr(view))
    injected = ""

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first: Any = args[0] if args else None
        if first.__class__ in SCOPED and is_met(demand, first.scope):
            return
        connection = kwargs.pop(injected, None)
        found = _find(args, kwargs, name) if connection is None else of(connection)
        if found is not None:
            enforce(demand, name, *found)

    if _is_async(view):

        @wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return await view(*args, **kwargs)

    else:

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            check(args, kwargs)
            return view(*args, **kwargs)

    setattr(guarded, DEMANDS, (*demands_of(view), demand))
    _sign(guarded, view)
    if "fastapi" in sys.modules and not is_anothers(view, "fastapi"):
        from keymw.integrations import fastapi  # noqa: PLC0415 - the app's own

        def checked(connection: Connection) -> None:
            enforce(demand, name, *of(connection))

        injected = fastapi.declare(guarded, demand, checked)
    return guarded


def _is_async(view: Any) -> bool:
    while isinstance(view, partial):
        view = view.func
    called = getattr(view, "__call__", None)  # noqa: B004 - asks how it is called, not whether
    return inspect.iscoroutinefunction(view) or inspect.iscoroutinefunction(called)


def _sign(guarded: Any, view: Any) -> None:
    """Say how a view is called, where Pyramid looks: it does not look at what is wrapped."""
    with suppress(ValueError):  # of a callable that is written in C
        guarded.__signature__ = inspect.signature(view)


def _find(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str
) -> tuple[Integration, Any] | None:
    """Return the request of a view and whose it is; None is an app's lifespan, which is none."""
    found = find(args, kwargs)
    if found is None and not plain.is_lifespan(args):
        raise unseen(name)
    return found


def _guard_method(view: Any, demand: Demand) -> Any:
    return type(view)(_guard(view.__func__, demand))


def _guard_class(view: Any, demand: Demand) -> Any:
    for method in ("dispatch", "dispatch_request"):
        if hasattr(view, method):
            setattr(view, method, _guard(getattr(view, method), demand, view.__qualname__))
            return view
    raise TypeError(f"{view.__qualname__} is no class-based view: it does not dispatch requests.")
