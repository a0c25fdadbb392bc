"""The faces inside Django: `KeyAuthMiddleware` for the setting `MIDDLEWARE`.

Nothing is decided here: each request goes through the face as from a server, and what the face
calls is the rest of Django.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.access import KEY
from keymw.errors import AccessDenied
from keymw.integrations.django.configuration import asgi_face, wsgi_face
from keymw.integrations.django.exchange import Exchange
from keymw.integrations.django.refusals import connection, respond
from keymw.integrations.extra import extra

with extra("django", "asgiref"):
    from asgiref.sync import iscoroutinefunction, markcoroutinefunction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from django.http import HttpRequest, HttpResponse

    from keymw.access import Access, Connection

#: Where a connection has, until the face calls the rest of Django, the request that it is of.
_EXCHANGE = "keymw.django"


class KeyAuthMiddleware:
    """Tells who a request is, as the faces do, in place of wrapping the app in one.

    The setting `KEYMW` is a dict. Its `SERVICE`, a `KeyService`, serves where Django calls this
    synchronously, as under WSGI; its `ASYNC_SERVICE`, an `AsyncKeyService`, where it does not, as
    under ASGI. Each is the service or a dotted path to it. `REALM`, `REQUIRED` and so on are the
    options of the faces.

    `request.user` is left alone: what is for everybody who has logged in does not open to keys.

    Raises:
        ImproperlyConfigured: (when the app starts) the setting is not right.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async: bool = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
            self._face: Any = asgi_face(self._respond_async)
        else:
            self._face = wsgi_face(self._respond)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Serve one request."""
        exchange = Exchange(request)
        if self._is_async:
            return self._serve_async(request, exchange)
        environ = request.META
        environ[_EXCHANGE] = exchange
        try:
            body = self._face(environ, exchange.start)
        finally:
            environ.pop(_EXCHANGE, None)
        return exchange.end(environ, body)

    def _respond(self, environ: Connection, _: object) -> Iterable[bytes]:
        """Be the app that the WSGI face is around."""
        exchange: Exchange = environ.pop(_EXCHANGE)
        request = exchange.begin(with_credentials="HTTP_AUTHORIZATION" in environ)
        exchange.response = self.get_response(request)
        return ()

    async def _serve_async(self, request: HttpRequest, exchange: Exchange) -> HttpResponse:
        scope = {**request.scope, _EXCHANGE: exchange}
        await self._face(scope, exchange.receive, exchange.send)
        return exchange.end(request.scope)

    async def _respond_async(self, scope: Connection, *_: object) -> None:
        """Be the app that the ASGI face is around."""
        exchange: Exchange = scope.pop(_EXCHANGE)
        names = (name.lower() for name, _ in scope["headers"])
        request = exchange.begin(with_credentials=b"authorization" in names)
        request.scope = scope
        exchange.response = await self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer a view's refusal, where no middleware nearer to the view has done so."""
        if not isinstance(exception, AccessDenied):
            return None
        access: Access = connection(request)[KEY]
        return respond(access.answer(exception.denied), request.method)
