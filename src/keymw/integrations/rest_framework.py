"""Django REST framework: `KeyAuthentication` and `HasScopes`, and `require_scopes` on its views.

A refusal is one of REST framework's `APIException`s, so a project's own `EXCEPTION_HANDLER` may
restyle it. Where a project has none, keymw's answer is given in place of the framework's default
one. Who the request is, and what it may do, comes from the face or from Django's middleware.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from keymw.access import KEY
from keymw.enforcing import enforce, unseen
from keymw.errors import AccessDenied, InvalidInput
from keymw.http import MISSING
from keymw.integrations.django import refusals
from keymw.integrations.extra import extra
from keymw.model import Granted
from keymw.policy import make_demand
from keymw.principals import KeyKind

with extra("rest-framework", "django", "rest_framework"):
    from django.core.exceptions import ImproperlyConfigured
    from django.urls import URLResolver, get_resolver
    from django.views.generic.base import View
    from rest_framework import exceptions
    from rest_framework.authentication import BaseAuthentication
    from rest_framework.permissions import BasePermission, OperandHolder, SingleOperandHolder
    from rest_framework.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from django.http import HttpResponse
    from rest_framework.views import APIView

    from keymw.access import Access, Connection
    from keymw.http import Answer
    from keymw.integrations import Integration
    from keymw.model import Demand, Denied
    from keymw.principals import Credentials, Principal

_THIS = cast("Integration", sys.modules[__name__])


class Refusal(exceptions.APIException, AccessDenied):
    """A refusal with `status_code`, `detail` and `auth_header`, as REST framework has them."""

    answer: Answer
    auth_header: str | None


class UnauthorizedRefusal(Refusal, exceptions.NotAuthenticated):
    """A refusal with status 401."""


class ForbiddenRefusal(Refusal, exceptions.PermissionDenied):
    """A refusal with status 403."""


_KINDS: dict[int, type[Refusal]] = {401: UnauthorizedRefusal, 403: ForbiddenRefusal}


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    """Return the request that a view is called with, once REST framework has made it its own."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Request):
            return value
    if args and isinstance(args[0], View):
        found = getattr(args[0], "request", None)
        return found if isinstance(found, Request) else None
    return None


def serving() -> None:
    """Return nothing: REST framework keeps no request in the context."""


def of(connection: Connection) -> None:
    """Return nothing: what only has a connection is for Django to answer."""


def connection(request: Request) -> Connection:
    """Return the environ or the scope of the request within."""
    return refusals.connection(request._request)  # noqa: SLF001 - which has no other name


def parameter(request: Request, name: str) -> object:
    """Return a parameter as the view has been called with it, which is what it will act on."""
    kwargs = (request.parser_context or {}).get("kwargs")
    if kwargs is None:
        return refusals.parameter(request._request, name)  # noqa: SLF001
    return kwargs.get(name)


def refuse(request: Request, access: Access, denied: Denied) -> Refusal:
    """Return the exception that REST framework answers."""
    answer = access.answer(denied)
    kind = _KINDS.get(answer.status, Refusal)
    error = kind.of(denied, answer.detail, denied.reason.value)
    error.answer = answer
    error.status_code = answer.status
    error.auth_header = dict(answer.headers).get("www-authenticate")
    view = (request.parser_context or {}).get("view")
    if view is not None and view.get_exception_handler() is _views().exception_handler:
        # The view is this request's own; a project's handler would have been another one.
        view.get_exception_handler = lambda: exception_handler
    return error


def _views() -> ModuleType:
    """Return REST framework's views, which are imported after what their settings name: this."""
    return import_module("rest_framework.views")


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Answer keymw's refusals with its own answer, and the rest as REST framework does."""
    if not isinstance(error, Refusal):
        return _views().exception_handler(error, context)
    _views().set_rollback()
    return refusals.respond(error.answer, context["request"].method)


def _access(request: Request, view: str) -> Access:
    access: Access | None = connection(request).get(KEY)
    if access is None:
        raise unseen(view)
    return access


class KeyAuthentication(BaseAuthentication):
    """`request.user` is the principal of a request with a good key, `request.auth` its scopes.

    Without a key of ours it leaves the request to the classes after it. First in the list, its
    challenge goes with every 401 (that is REST framework's rule).
    """

    def authenticate(self, request: Request) -> tuple[Principal, Credentials] | None:
        """Return who the request is.

        Raises:
            MiddlewareMissing: no `KeyAuthMiddleware` has seen the request.
        """
        verdict = _access(request, type(self).__qualname__).verdict
        return (verdict.principal, verdict.credentials) if isinstance(verdict, Granted) else None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge, so that who is not authenticated gets a 401."""
        access = _access(request, type(self).__qualname__)
        denied = MISSING if isinstance(access.verdict, Granted) else access.verdict
        return dict(access.answer(denied).headers)["www-authenticate"]


class HasScopes(BasePermission):
    """Lets a key in that has all of the view's `required_scopes`.

    The view says, as `require_scopes` does:

    - `required_scopes`: a list, or a dict of lists by HTTP method, in which HEAD follows GET;
    - `allowed_kinds`: the kinds of key that it takes; personal keys, where it does not say;
    - `project_parameter`: name of the path parameter that must be the key's project; none, where
      it does not say.

    By itself in `permission_classes` it gives keymw's answer. As a part of an expression
    (`IsAdminUser | HasScopes`) it says no and leaves the answer to REST framework.

    Raises:
        ImproperlyConfigured: the view does not say, or what it says is no demand.
        MiddlewareMissing: no `KeyAuthMiddleware` has seen the request.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Say whether the request's key meets what the view demands."""
        method = request.method.lower()
        if method not in view.http_method_names or not hasattr(view, method):
            return True  # there is nothing to get at: REST framework answers 405
        try:
            enforce(demand_of(view, request.method), type(view).__qualname__, _THIS, request)
        except Refusal:
            if any(isinstance(permission, HasScopes) for permission in view.get_permissions()):
                raise
            return False
        return True


def demand_of(view: Any, method: str) -> Demand:
    """Return what a view demands of a request with `HasScopes`.

    Raises:
        ImproperlyConfigured: it does not say, or what it says is no demand.
    """
    name = type(view).__name__  # of a function's view, that of the function
    scopes = getattr(view, "required_scopes", None)
    if isinstance(scopes, dict):
        scopes = scopes.get(method, _unsaid(scopes, method))
    if scopes is None:
        raise ImproperlyConfigured(
            f"{name} has the permission class HasScopes and does not say what it demands of "
            f"{method}: set required_scopes (an empty list takes any key of the allowed kinds), or "
            "permission_classes without HasScopes."
        )
    kinds = getattr(view, "allowed_kinds", (KeyKind.PERSONAL,))
    try:
        return make_demand(scopes, kinds, getattr(view, "project_parameter", None))
    except InvalidInput as error:
        raise ImproperlyConfigured(f"{name}: {error}") from error


def _unsaid(scopes: dict[str, Any], method: str) -> Any:
    """Return the scopes of a method that a dict does not name, if it need not."""
    if method == "HEAD":
        return scopes.get("GET")
    # What OPTIONS tells of a method, REST framework asks the permissions of that method about.
    return () if method == "OPTIONS" else None


def undeclared() -> Iterator[tuple[type[APIView], str]]:
    """Yield the URLconf's views whose `HasScopes` can let nobody in, each with the reason."""
    for callback in _callbacks(get_resolver().url_patterns):
        found: Any = getattr(callback, "cls", None)
        if not hasattr(found, "permission_classes"):
            continue
        view = found(**callback.initkwargs)  # which may have permissions of its own, by `@action`
        if not any(map(_has_scopes, view.permission_classes)):
            continue
        methods = getattr(callback, "actions", None) or [
            method for method in found.http_method_names if hasattr(found, method)
        ]
        problems = (_problem(view, method.upper()) for method in sorted(methods))
        problem = next(filter(None, problems), None)
        if problem is not None:
            yield found, problem


def _problem(view: APIView, method: str) -> str | None:
    try:
        demand_of(view, method)
    except ImproperlyConfigured as error:
        return str(error)
    return None


def _has_scopes(permission: Any) -> bool:
    """Say whether a permission class, or an expression of some, has `HasScopes` in it."""
    if isinstance(permission, OperandHolder):
        return _has_scopes(permission.op1_class) or _has_scopes(permission.op2_class)
    if isinstance(permission, SingleOperandHolder):
        return _has_scopes(permission.op1_class)
    return issubclass(permission, HasScopes)


def _callbacks(patterns: Iterable[Any]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _callbacks(pattern.url_patterns)
        else:
            yield pattern.callback
