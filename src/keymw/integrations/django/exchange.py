"""One request of Django's on its way through a face, and what of it goes on after that.

The faces know connections only, environs and scopes, and what servers do with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.access import current
from keymw.integrations.django.refusals import make_response
from keymw.integrations.extra import extra

with extra("django", "django"):
    from django.utils.cache import patch_vary_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from django.http import HttpRequest, HttpResponse

    from keymw.access import Connection


class Exchange:
    """A request, and what was answered to it: by the app, or by the face in its place."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        #: What the app has answered, if it was asked.
        self.response: HttpResponse | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = b""

    def begin(self, *, with_credentials: bool) -> HttpRequest:
        """Return the request, for the app to answer it."""
        request = self._request
        if not with_credentials:
            request.META.pop("HTTP_AUTHORIZATION", None)
            request.__dict__.pop("headers", None)  # which Django makes of META once
        return request

    def start(self, status: str, headers: Iterable[tuple[str, str]], *_: object) -> None:
        """Be a WSGI server's `start_response`."""
        self._status, self._headers = int(status.partition(" ")[0]), dict(headers)

    async def send(self, message: Mapping[str, Any]) -> None:
        """Be an ASGI server's `send`."""
        if message["type"] == "http.response.start":
            fields = message["headers"]
            self._status = message["status"]
            self._headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in fields}
        self._body += message.get("body", b"")

    async def receive(self) -> Mapping[str, Any]:
        """Be an ASGI server's `receive`: Django has read the body before."""
        return {"type": "http.disconnect"}

    def end(self, connection: Connection, body: Iterable[bytes] = ()) -> HttpResponse:
        """Return the answer, as the app's middleware outside of keymw's takes it."""
        response = self.response
        if response is None:
            return make_response(self._status, self._headers, self._body + b"".join(body))
        _hold(response, connection)
        patch_vary_headers(response, ["Authorization"])
        return response


def _hold(response: HttpResponse, connection: Connection) -> None:
    """Let what is drawn from a response later, and what ends with it, be within its request."""
    if response.streaming and getattr(response, "file_to_stream", None) is None:
        within = _AsyncBody if response.is_async else _Body
        response.streaming_content = within(response.streaming_content, connection)
    close = response.close

    def close_within() -> None:
        vars(response).pop("close", None)  # which holds the response, by `close`
        token = current.set(connection)
        try:
            close()
        finally:
            current.reset(token)

    response.close = close_within


class _Body:
    """A streamed body, each step of which is within the request, and nothing in between."""

    def __init__(self, body: Iterable[bytes], connection: Connection) -> None:
        self._chunks = iter(body)
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = current.set(self._connection)
        try:
            return next(self._chunks)
        finally:
            current.reset(token)


class _AsyncBody:
    """The same of an asynchronous body."""

    def __init__(self, body: AsyncIterator[bytes], connection: Connection) -> None:
        self._chunks = body
        self._connection = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        token = current.set(self._connection)
        try:
            return await anext(self._chunks)
        finally:
            current.reset(token)
