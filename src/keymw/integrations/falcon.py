"""Falcon, WSGI and ASGI: a hook for responders and resources, and refusals that are `HTTPError`s.

An app's own error handlers and error serializer may restyle a refusal; where it has none, keymw's
answer is given, whatever `Accept` says, from inside the app, so that what its middleware (CORS)
adds to answers is there too.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from keymw.enforcing import enforce
from keymw.errors import AccessDenied
from keymw.integrations.extra import extra
from keymw.policy import make_demand
from keymw.principals import KeyKind

with extra("falcon", "falcon"):
    from falcon import HTTPError, HTTPForbidden, HTTPStatus, HTTPUnauthorized, Request
    from falcon.errors import WebSocketDisconnected

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, MutableMapping

    from keymw.access import Access, Connection
    from keymw.http import Answer
    from keymw.integrations import Integration
    from keymw.model import Demand, Denied

_POLICY_VIOLATION = 1008
_NOT_OURS = ("content-", "vary")


class Refusal(HTTPError, AccessDenied):  # noqa: N818 - as in the other frameworks
    """A refusal with `status`, `title`, `description` and `headers`, as Falcon's errors are."""

    answer: Answer

    def __init__(self, answer: Answer) -> None:
        """Fill in what Falcon's serializers and the users' handlers read."""
        said = {"title": answer.phrase, "description": answer.detail, "headers": _fields(answer)}
        super().__init__(**said)  # type: ignore[arg-type]  # the next class has a status
        self.answer = answer

    def to_dict(self, obj_type: type[MutableMapping[str, Any]] = dict) -> MutableMapping[str, Any]:
        """Return the problem document (RFC 9457)."""
        problem = obj_type()
        problem.update(json.loads(self.answer.body))
        return problem


class UnauthorizedRefusal(Refusal, HTTPUnauthorized):
    """A refusal with status 401."""


class ForbiddenRefusal(Refusal, HTTPForbidden):
    """A refusal with status 403."""


class SocketRefusal(WebSocketDisconnected, AccessDenied):
    """A refusal of a WebSocket, which Falcon ends like one that is gone: with no word in the log.

    How it is told to the client, the middleware knows.
    """


class _Verbatim(HTTPStatus, AccessDenied):
    """An answer that Falcon gives as it is."""


_KINDS: dict[int, type[Refusal]] = {401: UnauthorizedRefusal, 403: ForbiddenRefusal}


class Call(NamedTuple):
    """A call of a responder: Falcon hands the parameters of the path to nobody else."""

    request: Request
    #: Falcon's `Response`, or its `WebSocket`.
    response: Any
    parameters: dict[str, Any]


class KeyHook:
    """What `key_hook` returns, for `falcon.before`."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.__keymw_demands__ = (demand,)

    def __call__(
        self, req: Request, resp: Any, resource: object, params: dict[str, Any]
    ) -> _Nothing:
        """Return if the request may go on; under ASGI, what Falcon awaits then."""
        enforce(self.demand, type(resource).__qualname__, _FALCON, Call(req, resp, params))
        return _NOTHING


def key_hook(
    *scopes: str,
    kinds: Iterable[KeyKind | str] = (KeyKind.PERSONAL,),
    project: str | None = None,
) -> KeyHook:
    """Return a hook that lets a responder run only for a key that has all of the scopes.

    For `falcon.before`, on a responder, `on_websocket` too, or on a resource for all of them; the
    same under WSGI and ASGI. The arguments are those of `require_scopes`, which does the same on a
    responder.

    Raises:
        InvalidInput: a scope or kind is not one.
        MiddlewareMissing: (in a request) no `KeyAuthMiddleware` is around the app.
    """
    return KeyHook(make_demand(scopes, kinds, project))


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Return the call of a responder, with or without its resource, or of a sink."""
    for place, value in enumerate(args[:2]):
        if isinstance(value, Request):
            response = args[place + 1] if len(args) > place + 1 else kwargs.get("ws")
            return Call(value, response, kwargs)
    return None


def serving() -> None:
    """Return nothing: Falcon keeps no request in the context."""


def of(connection: Connection) -> None:
    """Return nothing: Falcon leaves no trace of itself in an environ or a scope."""


def connection(request: Call) -> Connection:
    """Return the ASGI scope or the WSGI environ."""
    found: Connection = (
        request.request.scope if hasattr(request.request, "scope") else request.request.env
    )
    return found


def parameter(request: Call, name: str) -> object:
    """Return a parameter of the path, as Falcon's router and hooks have it for the responder."""
    return request.parameters.get(name)


def refuse(request: Call, access: Access, denied: Denied) -> AccessDenied:
    """Return the error that Falcon itself would raise, or what closes a WebSocket."""
    scope = connection(request)
    if scope.get("type") == "websocket":
        access.denied = denied
        return SocketRefusal.of(denied, _POLICY_VIOLATION)
    answer = access.answer(denied)
    request.response.options = _Options(request.response.options, answer, denied)
    return _KINDS[answer.status].of(denied, answer)


class _Options:
    """The options of a response that is a refusal.

    Falcon's own serializer reads first how an error may be written, and nobody else asks that: so
    it is known that neither a handler nor a serializer of the app has taken the refusal, and it is
    written by keymw.
    """

    def __init__(self, options: Any, answer: Answer, denied: Denied) -> None:
        self._options = options
        self._answer = answer
        self._denied = denied

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)

    @property
    def xml_error_serialization(self) -> bool:
        """Have Falcon give keymw's answer (an error handler may end by raising an `HTTPStatus`)."""
        answer = self._answer
        headers = [("content-type", "application/problem+json"), *_fields(answer)]
        raise _Verbatim.of(self._denied, answer.status, headers, answer.body.decode())


class _Nothing:
    """Awaits nothing, without the cost of a coroutine."""

    def __await__(self) -> Generator[None, None, None]:
        return iter(())  # type: ignore[return-value]


_NOTHING = _Nothing()

_FALCON = cast("Integration", sys.modules[__name__])


def _fields(answer: Answer) -> list[tuple[str, str]]:
    """Return the headers but those that tell of the body, and `Vary`, which the middleware adds."""
    return [(name, value) for name, value in answer.headers if not name.startswith(_NOT_OURS)]
