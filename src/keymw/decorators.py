"""`require_scopes`: what a route demands, on any callable that a framework takes for a view."""

from __future__ import annotations

import inspect
import logging
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from keymw.access import KEY, current, current_principal
from keymw.errors import MiddlewareMissing
from keymw.model import Granted, KeyKind
from keymw.policy import decide, make_demand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from keymw.access import Access
    from keymw.model import Demand

__all__ = ["current_principal", "require_scopes"]

log = logging.getLogger("keymw")

V = TypeVar("V", bound="Callable[..., Any]")

#: The parameter by which FastAPI hands the connection over; other frameworks never see it.
_INJECTED = "keymw_connection"


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
        project: name of the path parameter that must be the key's project.

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


def _guard(view: Any, demand: Demand) -> Any:
    if inspect.isclass(view):
        return _guard_class(view, demand)
    if not callable(view):
        raise TypeError(f"require_scopes decorates views, not {type(view).__name__}.")

    if inspect.iscoroutinefunction(view) or inspect.iscoroutinefunction(
        getattr(view, "__call__", None)  # noqa: B004 - asks how it is called, not whether
    ):

        @wraps(view)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            _demand(demand, view, args, kwargs)
            return await view(*args, **kwargs)

    else:

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            _demand(demand, view, args, kwargs)
            return view(*args, **kwargs)

    guarded.__keymw_demand__ = demand  # type: ignore[attr-defined]
    _ask_for_connection(guarded)
    return guarded


def _guard_class(view: Any, demand: Demand) -> Any:
    for name in ("dispatch", "dispatch_request"):
        if hasattr(view, name):
            setattr(view, name, _guard(getattr(view, name), demand))
            view.__keymw_demand__ = demand
            return view
    raise TypeError(f"{view.__qualname__} is no class-based view: it does not dispatch requests.")


def _demand(demand: Demand, view: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Return if the request may go on; raise what its framework answers otherwise."""
    access, connection = _find(args, kwargs)
    kwargs.pop(_INJECTED, None)
    if access is None or connection is None:
        error = MiddlewareMissing(getattr(view, "__qualname__", repr(view)))
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


def _find(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Access | None, MutableMapping[str, Any] | None]:
    """Return the request's access and its scope or environ.

    A connection among the arguments knows best: it is this view's own, while the context may be
    that of an outer request whose view calls another app.
    """
    for value in (*args, *kwargs.values()):
        scope = getattr(value, "scope", None)
        if isinstance(scope, dict) and "type" in scope:
            return scope.get(KEY), scope
    access = current.get()
    return access, None if access is None else access.connection


def _ask_for_connection(view: Any) -> None:
    """Have FastAPI pass the connection to a view that does not ask for one itself."""
    if "fastapi" not in sys.modules:
        return
    from starlette.requests import HTTPConnection  # noqa: PLC0415 - FastAPI has loaded it

    signature = inspect.signature(view)
    parameters = [p for p in signature.parameters.values() if p.name != _INJECTED]
    injected = inspect.Parameter(
        _INJECTED, inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection
    )
    last = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        last -= 1
    parameters.insert(last, injected)
    view.__signature__ = signature.replace(parameters=parameters)
