"""FastAPI: a route's demand is a dependency, `KeyAuth` or what `require_scopes` makes of itself.

The decorator's comes before all others. So who may not call a route neither runs its dependencies
nor learns what its parameters are, and the view is judged by the very connection that FastAPI
serves, which it need not ask for itself.
"""

from __future__ import annotations

import inspect
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

from keymw.access import KEY
from keymw.enforcing import enforce
from keymw.errors import AccessDenied
from keymw.integrations.extra import extra

with extra("fastapi", "fastapi"):
    from fastapi import FastAPI, HTTPException, Security
    from fastapi.exception_handlers import http_exception_handler
    from fastapi.openapi.models import HTTPBearer
    from fastapi.security import SecurityScopes  # noqa: TC002 - FastAPI reads it
    from fastapi.security.base import SecurityBase
    from starlette.requests import HTTPConnection  # noqa: TC002 - likewise

    from keymw.integrations import starlette

from keymw.policy import make_demand
from keymw.principals import KeyKind, Principal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from keymw.access import Access
    from keymw.http import Answer
    from keymw.model import Demand, Denied

    Scope = MutableMapping[str, Any]

starlette.DEFAULTS.append(http_exception_handler)

#: Names of the schemes that documents may have.
_SCHEMES: set[str] = set()
_PROBLEM = {
    "application/problem+json": {
        "schema": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "code": {"type": "string"},
            },
        }
    }
}
_REFUSALS = {
    "401": {"description": "No good key was sent.", "content": _PROBLEM},
    "403": {"description": "The key may not do this.", "content": _PROBLEM},
    "503": {"description": "The key cannot be checked at the moment.", "content": _PROBLEM},
}

#: Longest chain of middleware and mounts that is followed.
_DEEPEST = 100
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


class _Scheme(SecurityBase):
    """What FastAPI shows of a demand: one scheme for each choice of kinds."""

    def __init__(self, kinds: Iterable[KeyKind]) -> None:
        found = sorted(kinds)
        names = " or a ".join(kind.plural.removesuffix("s") for kind in found)
        self.model = HTTPBearer(description=f"A {names}, as `Authorization: Bearer <key>`.")
        self.scheme_name = "_or_".join(found) + "_key"
        _SCHEMES.add(self.scheme_name)


class _NoClass:
    """Has FastAPI refuse `Security(KeyAuth)`, which would make one for each request and ask none.

    Before a route is declared, FastAPI looks at the signature of what it will call.
    """

    def __get__(self, instance: object, owner: type) -> NoReturn:
        if instance is not None:
            raise AttributeError("__signature__")  # that of `__call__` counts
        raise TypeError(
            f"{owner.__name__} itself is no dependency: make one of it, as in "
            f'Security({owner.__name__}(kinds=[...]), scopes=["object:read"]).'
        )


class KeyAuth(_Scheme):
    """A dependency that lets a route be called only with a key that has all of the scopes.

    It gives the principal, and shows scopes, kinds and refusals in the OpenAPI document::

        keys = KeyAuth(kinds=["project_secret", "personal"], project="project_id")

        @app.get("/projects/{project_id}/report")
        async def report(who: Annotated[Principal, Security(keys, scopes=["report:read"])]): ...

    Scopes of dependencies around it count too, as `SecurityScopes` of FastAPI do. A middleware,
    `keymw.asgi.KeyAuthMiddleware`, has to be around the app.

    Args:
        kinds: kinds of key that the route takes.
        project: name of the path parameter that must be the key's project.

    Raises:
        InvalidInput: a kind is not one, or `project` is no name.
    """

    __signature__ = _NoClass()

    def __init__(
        self,
        *,
        kinds: Iterable[KeyKind | str] = (KeyKind.PERSONAL,),
        project: str | None = None,
    ) -> None:
        demand = make_demand((), kinds, project)
        super().__init__(demand.kinds)
        self._kinds, self._project = demand.kinds, demand.project

    def demand(self, scopes: Iterable[str]) -> Demand:
        """Return what a route demands that needs these scopes.

        Raises:
            InvalidInput: a scope is not one.
        """
        return _demand(tuple(scopes), self._kinds, self._project)

    async def __call__(self, connection: HTTPConnection, scopes: SecurityScopes) -> Principal:
        """Return who it is; raise what refuses the request otherwise."""
        scope = connection.scope
        view = getattr(scope.get("endpoint"), "__qualname__", "A view of FastAPI's")
        enforce(self.demand(scopes.scopes), view, sys.modules[__name__], scope)
        return cast("Principal", scope[KEY].principal)


@lru_cache(maxsize=1024)
def _demand(scopes: tuple[str, ...], kinds: frozenset[KeyKind], project: str | None) -> Demand:
    return make_demand(scopes, kinds, project)


class _Decorated(_Scheme):
    """The dependency that `require_scopes` adds to a view."""

    def __init__(self, demand: Demand, check: Callable[[Scope], None]) -> None:
        super().__init__(demand.kinds)
        self._check = check

    async def __call__(self, connection: HTTPConnection) -> Any:
        self._check(connection.scope)
        return connection.scope


class _View:
    """What `require_scopes(...)` takes, and no request has: FastAPI stops when it is to be one."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> NoReturn:
        raise TypeError(
            "require_scopes(...) is a decorator for the view. As a dependency, write "
            'Security(KeyAuth(kinds=[...]), scopes=["object:read"]) with KeyAuth from '
            "keymw.integrations.fastapi."
        )


def is_no_dependency(decorator: Callable[..., Any]) -> None:
    """Have `Depends(require_scopes(...))` refused when the route is declared."""
    view = inspect.Parameter("view", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=_View)
    decorator.__signature__ = inspect.Signature([view])  # type: ignore[attr-defined]


def document(app: FastAPI) -> None:
    """Add the refusals, 401, 403 and 503, to the app's OpenAPI document where a key is asked for.

    The middleware does it for the app that it is around, or in, when that starts, and for those
    that are mounted in it. What a route says of these statuses itself stays.
    """
    describe = app.openapi
    if getattr(describe, "__keymw__", False):
        return

    def openapi() -> dict[str, Any]:
        found = describe()
        for path in found.get("paths", {}).values():
            for operation in path.values():
                if isinstance(operation, dict) and _asks_for_a_key(operation):
                    operation["responses"] = {**_REFUSALS, **operation.get("responses", {})}
                    operation["security"] = _all_at_once(operation["security"])
        return found

    openapi.__keymw__ = True  # type: ignore[attr-defined]
    app.openapi = openapi  # type: ignore[method-assign]


def document_all(app: object, depth: int = 0) -> None:
    """Do so for an app of FastAPI's, and for those that are within it or within what is around."""
    if isinstance(app, FastAPI):
        document(app)
    routes = getattr(app, "routes", None)
    for holder in routes if isinstance(routes, list) else (app,):
        inner = getattr(holder, "app", None)
        if inner is not None and depth < _DEEPEST:
            document_all(inner, depth + 1)


def _asks_for_a_key(operation: dict[str, Any]) -> bool:
    return any(name in _SCHEMES for found in operation.get("security", ()) for name in found)


def _all_at_once(security: list[dict[str, list[str]]]) -> list[dict[str, list[str]]]:
    """Return what an operation asks for, with all that keymw asks for as one choice.

    FastAPI lists the schemes of an operation as alternatives (OpenAPI, "Security Requirement
    Object"); a route with several demands asks for all of them.
    """
    ours = {
        name: scopes for found in security for name, scopes in found.items() if name in _SCHEMES
    }
    others = [found for found in security if _SCHEMES.isdisjoint(found)]
    return [ours, *others]


def declare(view: Callable[..., Any], demand: Demand, check: Callable[[Scope], None]) -> str:
    """Make FastAPI call `check` with the connection's scope before anything else of the view.

    Returns the name of the parameter by which the view is then handed that scope.
    """
    signature = inspect.signature(view)
    parameters = list(signature.parameters.values())
    name = f"{_PARAMETER}_{sum(p.name.startswith(_PARAMETER) for p in parameters)}"
    checked = Security(_Decorated(demand, check), scopes=demand.scopes)
    injected = inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[Any, checked]
    )
    is_method = bool(parameters) and parameters[0].name in ("self", "cls")
    parameters.insert(int(is_method), injected)
    view.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return name
