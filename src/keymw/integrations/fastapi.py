"""FastAPI: a route's demand is a dependency, and comes before all others.

So who may not call a route neither runs its dependencies nor learns what its parameters are, and
the view is judged by the very connection that FastAPI serves, which it need not ask for itself.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

from keymw.errors import AccessDenied
from keymw.integrations.extra import extra

with extra("fastapi", "fastapi"):
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.exception_handlers import http_exception_handler
    from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads it

    from keymw.integrations import starlette

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from keymw.access import Access
    from keymw.http import Answer
    from keymw.model import Denied

    Scope = MutableMapping[str, Any]

starlette.DEFAULTS.append(http_exception_handler)

#: Beginning of the names of parameters that only FastAPI sees.
_PARAMETER = "keymw_connection"


class Refusal(HTTPException, AccessDenied):
    """A refusal with `status_code`, `detail` and `headers`, as FastAPI's exceptions are."""

    answer: Answer


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:
    """Return the scope of the request or WebSocket that a view is called with."""
    scope = starlette.called(args, kwargs)
    return None if scope is None else of(scope)


def serving() -> None:
    """Return nothing: FastAPI keeps no request in the context."""


def of(connection: Scope) -> Scope | None:
    """Return the scope if a FastAPI app serves it."""
    return connection if isinstance(connection.get("app"), FastAPI) else None


connection = starlette.connection
parameter = starlette.parameter


def refuse(request: Scope, access: Access, denied: Denied) -> AccessDenied:
    """Return FastAPI's exception: an app may have a handler for that one alone."""
    return starlette.refusal(Refusal, request, access, denied)


def declare(view: Callable[..., Any], check: Callable[[Scope], None]) -> str:
    """Make FastAPI call `check` with the connection's scope before anything else of the view.

    Returns the name of the parameter by which the view is then handed that scope.
    """

    async def checked(connection: HTTPConnection) -> Scope:
        check(connection.scope)
        return connection.scope

    signature = inspect.signature(view)
    parameters = list(signature.parameters.values())
    name = f"{_PARAMETER}_{sum(p.name.startswith(_PARAMETER) for p in parameters)}"
    injected = inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[Any, Depends(checked)],
    )
    is_method = bool(parameters) and parameters[0].name in ("self", "cls")
    parameters.insert(int(is_method), injected)
    view.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return name
