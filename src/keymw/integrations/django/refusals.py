"""Django: a refusal is a `PermissionDenied`, answered within the app as Django answers those.

So it passes the app's own middleware on its way out, as every answer does. What may restyle it, in
the order in which Django asks: `process_exception` of a middleware, then `handler403` of the root
URLconf. Where neither does, keymw's answer is given.

This is what `require_scopes` needs to know of Django.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.access import KEY
from keymw.errors import AccessDenied
from keymw.integrations import plain
from keymw.integrations.extra import extra

with extra("django", "django"):
    from django.conf import urls
    from django.core.exceptions import PermissionDenied
    from django.http import HttpRequest, HttpResponse
    from django.urls import get_callable, get_urlconf
    from django.views.generic.base import View

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keymw.access import Access, Connection
    from keymw.http import Answer
    from keymw.model import Denied

    #: An `HttpRequest`; or, where a view has none among its arguments, its connection.
    Request = Any


class Refusal(PermissionDenied, AccessDenied):
    """A refusal, as Django's own `PermissionDenied`, but with keymw's status and headers."""

    answer: Answer

    def response(self, request: Request) -> HttpResponse:
        """Return keymw's answer, to be changed by whoever handles the exception."""
        return respond(self.answer, request.method)


def respond(answer: Answer, method: str) -> HttpResponse:
    """Return an answer of keymw's."""
    body = b"" if method == "HEAD" else answer.body
    return make_response(answer.status, dict(answer.headers), body)


def make_response(status: int, headers: Mapping[str, str], body: bytes) -> HttpResponse:
    """Return what keymw answers in the app's place."""
    response = HttpResponse(body, status=status, headers=headers)
    # Who is refused is no event of the app's: else it would log a traceback for each 401, and
    # send its admins a mail for each 503.
    response._has_been_logged = True  # noqa: SLF001 - Django has no other name for it
    return response


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest | None:
    """Return the request that a view is called with, or that a class-based view is made for."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, HttpRequest):
            return value
    if args and isinstance(args[0], View):
        found = getattr(args[0], "request", None)
        return found if isinstance(found, HttpRequest) else None
    return None


def serving() -> None:
    """Return nothing: Django keeps no request in the context."""


def of(connection: Connection) -> Connection | None:
    """Return the connection if Django is serving a request, so that it may answer a refusal.

    Its `HttpRequest`, and so what the path says, is known to views alone.
    """
    return None if get_urlconf() is None else connection


def connection(request: Request) -> Connection:
    """Return the environ or the scope; a request's `META` is a WSGI environ, or stands for one."""
    if not isinstance(request, HttpRequest):
        return request  # type: ignore[no-any-return]
    found: Connection = request.META
    return found if KEY in found else getattr(request, "scope", found)


def parameter(request: Request, name: str) -> object:
    """Return what the URLconf has found in the path, as the view gets it."""
    if not isinstance(request, HttpRequest):
        return plain.parameter(request, name)
    match = request.resolver_match
    return None if match is None else match.kwargs.get(name)


def refuse(request: Request, access: Access, denied: Denied) -> Refusal:  # noqa: ARG001
    """Return what Django answers as it does `PermissionDenied`."""
    answer = access.answer(denied)
    error = Refusal.of(denied, answer.detail)
    error.answer = answer
    return error


_other_denials = urls.handler403


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer keymw's refusals, and leave what else is denied to the handler that was there.

    This is what an app has that sets no `handler403`; one with a handler of its own may call it.
    """
    if isinstance(exception, Refusal):
        return exception.response(request)
    return get_callable(_other_denials)(request, exception)


#: Django looks here for the handlers that a root URLconf does not name.
urls.handler403 = permission_denied
