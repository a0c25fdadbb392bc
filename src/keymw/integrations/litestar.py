"""Litestar: a guard for handlers, controllers and routers, and what OpenAPI documents say of it.

A refusal is one of Litestar's `HTTPException`s, so `exception_handlers` of any layer may restyle
it; where none takes it, keymw's answer is given in place of the framework's default one.
"""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from keymw.enforcing import demands_of, enforce, log
from keymw.errors import AccessDenied
from keymw.integrations.extra import extra
from keymw.policy import make_demand
from keymw.principals import KeyKind

with extra("litestar", "litestar"):
    from litestar.connection import ASGIConnection
    from litestar.exceptions import (
        ImproperlyConfiguredException,
        NotAuthorizedException,
        PermissionDeniedException,
        WebSocketException,
    )
    from litestar.handlers import BaseRouteHandler
    from litestar.openapi.datastructures import ResponseSpec
    from litestar.openapi.spec import Components, SecurityScheme
    from litestar.plugins import InitPlugin, ReceiveRoutePlugin
    from litestar.response import Response
    from litestar.routes import HTTPRoute
    from litestar.utils.helpers import unwrap_partial
    from litestar.utils.scope.state import ScopeState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from litestar.config.app import AppConfig
    from litestar.handlers import HTTPRouteHandler
    from litestar.routes import BaseRoute

    from keymw.access import Access, Connection
    from keymw.http import Answer
    from keymw.integrations import Integration
    from keymw.model import Demand, Denied

_POLICY_VIOLATION = 1008


class UnauthorizedRefusal(NotAuthorizedException, AccessDenied):
    """A refusal with status 401, and `detail` and `headers`, as Litestar's exceptions are."""

    answer: Answer


class ForbiddenRefusal(PermissionDeniedException, AccessDenied):
    """A refusal with status 403."""

    answer: Answer


class SocketRefusal(WebSocketException, AccessDenied):
    """A refusal of a WebSocket, which Litestar closes."""

    def __init__(self, detail: str) -> None:
        """Name the code of RFC 6455 §7.4.1 for a policy."""
        super().__init__(detail=detail, code=_POLICY_VIOLATION)


_KINDS = {kind.status_code: kind for kind in (UnauthorizedRefusal, ForbiddenRefusal)}
_LITESTAR = cast("Integration", sys.modules[__name__])


class KeyGuard:
    """What `key_guard` returns, for `guards` of any layer."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.__keymw_demands__ = (demand,)

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], route_handler: BaseRouteHandler
    ) -> None:
        """Return if the request or WebSocket may go on."""
        enforce(self.demand, str(route_handler), _LITESTAR, connection.scope)


def key_guard(
    *scopes: str,
    kinds: Iterable[KeyKind | str] = (KeyKind.PERSONAL,),
    project: str | None = None,
) -> KeyGuard:
    """Return a guard that lets a handler run only for a key that has all of the scopes.

    For `guards` of handlers, WebSockets too, of controllers, routers and the app. The arguments
    are those of `require_scopes`, which does the same on a handler's function.

    Raises:
        InvalidInput: a scope or kind is not one.
        MiddlewareMissing: (in a request) no `KeyAuthMiddleware` is around the app.
    """
    return KeyGuard(make_demand(scopes, kinds, project))


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Connection | None:
    """Return the scope of the request or WebSocket that a handler has asked for by name."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, ASGIConnection):
            return _uncached(cast("Connection", value.scope))
    return None


def serving() -> None:
    """Return nothing: Litestar keeps no request in the context."""


def of(connection: Connection) -> Connection | None:
    """Return the scope if it is a Litestar app that serves it, and no app that it has mounted."""
    app = connection.get("litestar_app")
    return _uncached(connection) if app is not None and connection.get("app") is app else None


def _uncached(scope: Connection) -> Connection:
    """Return the scope of a request whose handler's function is called for each request.

    Litestar takes a cached answer after the guards and before the function.
    """
    handler = scope.get("route_handler")
    if getattr(handler, "cache", False):
        message = (
            f"{handler} caches its answers, so require_scopes on its function would let others "
            "have what one may see: use guards=[key_guard(...)], or put @require_scopes above."
        )
        log.error("%s", message)
        raise ImproperlyConfiguredException(message)
    return scope


def connection(request: Connection) -> Connection:
    """Return the scope."""
    return request


def parameter(request: Connection, name: str) -> object:
    """Return what the router has found in the path."""
    return request.get("path_params", {}).get(name)


def refuse(request: Connection, access: Access, denied: Denied) -> AccessDenied:
    """Return what Litestar's own authentication would raise, or what closes a WebSocket."""
    answer = access.answer(denied)
    if request["type"] == "websocket":
        access.denied = denied
        return SocketRefusal.of(denied, answer.detail)
    error = _KINDS[answer.status].of(denied, answer.detail)
    error.answer = answer
    error.headers = dict(_fields(answer))
    _answer_by_default(request, error)
    return error


def _answer_by_default(scope: Connection, error: Any) -> None:
    """Have the refusal answered by `_respond`, unless a layer of the app has a handler for it.

    Litestar's handlers are the route's, resolved anew for each request; only there can a default
    be added that the app need not know of.
    """
    state = ScopeState.from_scope(cast("Any", scope))
    handlers = dict(cast("Any", state.exception_handlers))
    if error.status_code not in handlers and handlers.keys().isdisjoint(type(error).__mro__):
        state.exception_handlers = {**handlers, type(error): _respond}


def _respond(request: ASGIConnection[Any, Any, Any, Any], error: Any) -> Response[bytes]:
    answer: Answer = error.answer
    body = b"" if request.scope.get("method") == "HEAD" else answer.body
    return Response(body, status_code=answer.status, headers=dict(answer.headers))


def _fields(answer: Answer) -> list[tuple[str, str]]:
    """Return the headers but those that tell of the body, which whoever writes it knows."""
    return [field for field in answer.headers if not field[0].startswith("content-")]


def is_handler(view: object) -> bool:
    """Say whether Litestar has already made a handler of a view."""
    return isinstance(view, BaseRouteHandler)


def guard(handler: BaseRouteHandler, demand: Demand) -> BaseRouteHandler:
    """Return a handler that `require_scopes` stands above, not below, with a guard."""
    handler.guards = [*(handler.guards or ()), KeyGuard(demand)]
    return handler


@dataclass
class Problem:
    """What a refusal says (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class KeyDocs(InitPlugin, ReceiveRoutePlugin):
    """Says in the OpenAPI document which routes take which keys, and what they answer to others.

    Args:
        name: of the security scheme.
    """

    def __init__(self, name: str = "keymw") -> None:
        self._name = name

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Describe the scheme."""
        if app_config.openapi_config is not None:
            scheme = SecurityScheme(
                type="http",
                scheme="bearer",
                description="A personal key, or a project's secret key.",
            )
            config = copy(app_config.openapi_config)
            others = config.components
            config.components = [
                *(others if isinstance(others, list) else [others]),
                Components(security_schemes={self._name: scheme}),
            ]
            app_config.openapi_config = config
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Describe a route's handlers."""
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                demands = demands_on(handler)
                if demands:
                    _describe(handler, demands, self._name)


def demands_on(handler: BaseRouteHandler) -> list[Demand]:
    """Return what a handler demands, by guards of any layer and by `require_scopes`."""
    views = (*handler.resolve_guards(), unwrap_partial(handler.fn))
    return [demand for view in views for demand in demands_of(view)]


def _describe(handler: HTTPRouteHandler, demands: list[Demand], scheme: str) -> None:
    scopes = dict.fromkeys(scope for demand in demands for scope in demand.scopes)
    takers = [kind for kind in KeyKind if all(kind in demand.kinds for demand in demands)]
    taken = f"Takes {' and '.join(kind.plural for kind in takers)}" if takers else "Takes no key"
    needed = f" with {', '.join(scopes)}" if scopes else ""
    handler.security = [*(handler.security or ()), {scheme: list(scopes)}]
    handler.responses = {
        401: _response("No key, or none that is good."),
        403: _response(f"{taken}{needed}."),
        503: _response("The keys cannot be looked up at the moment."),
        **(handler.responses or {}),
    }


def _response(description: str) -> ResponseSpec:
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=description,
        media_type="application/problem+json",
    )
