"""The WSGI face: around any WSGI app (PEP 3333). It imports no framework.

What is answered stands in `http.py`; here it becomes calls of `start_response`.
"""

from __future__ import annotations

import inspect
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from keymw.access import ANONYMOUS, KEY, Access, current
from keymw.errors import AccessDenied
from keymw.http import DEFERRED, MALFORMED, MISSING, answer, check_realm, vary_on_authorization
from keymw.model import Granted
from keymw.twice import known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from keymw.http import Answer
    from keymw.model import Denied, Verdict
    from keymw.principals import AnonymousPrincipal, Principal
    from keymw.rules import Rule, Rules
    from keymw.service import KeyService

    Environ = dict[str, Any]
    StartResponse = Callable[..., Callable[[bytes], object]]
    App = Callable[[Environ, StartResponse], Iterable[bytes]]


class KeyAuthMiddleware:
    """Tells who a request is before the app sees it.

    On a request with a good key, `environ["keymw.principal"]` is its principal and
    `environ["keymw.scopes"]` its scopes. With none, the principal is anonymous. A bad key is
    refused on every route; what a route demands, `require_scopes` says.

    Args:
        app: any WSGI app.
        keys: a `KeyService`.
        realm: protection space named in challenges.
        required: refuse requests without a good key before the app sees them.
        rules: what requests demand by method and path, of an app whose routes one cannot decorate:
            `Rules`, or a list of `Rule`, which refuses what none of them is for. They are checked
            before the app sees the request; decorators in it hold as well.
        strip_credentials: hide a good key's `Authorization` from the app.

    Raises:
        TypeError: `keys` is not a `KeyService`.
        ValueError: the realm cannot stand in a header, or a rule can never be reached, overlaps
            with another one, or has a scope that the service's catalog has not; or a route that
            is there already demands what cannot be met (`UnmeetableDemand`). One that is added
            later is found at the first request, and no request is served then.
    """

    #: Who a request with no credentials is; tests of apps may set it (`keymw.testing`).
    without_key: ClassVar[Verdict] = MISSING

    def __init__(
        self,
        app: App,
        keys: KeyService,
        *,
        realm: str = "keymw",
        required: bool = False,
        rules: Rules | Iterable[Rule] = (),
        strip_credentials: bool = False,
    ) -> None:
        authenticate = getattr(keys, "authenticate", None)
        if authenticate is None or inspect.iscoroutinefunction(authenticate):
            raise TypeError("keymw.wsgi.KeyAuthMiddleware takes a KeyService as `keys`.")
        self.app = app
        self._keys = keys
        self._realm = check_realm(realm)
        self._required = required
        self._guarded = app
        if rules != ():
            from keymw.rules.guards import guard_wsgi  # noqa: PLC0415 - who has none pays nothing

            self._guarded = guard_wsgi(app, rules, keys)
        #: What serves requests; it is the app once its routes have been checked.
        self._serve: App = self._serve_first
        from keymw.routes import check_made  # noqa: PLC0415 - for lightness

        check_made(app, keys.catalog)
        self._strip = strip_credentials

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        value = environ.get("HTTP_AUTHORIZATION")
        verdict = (KEY in environ and known(environ, value, self)) or (
            self.without_key if value is None else self._verdict(value)
        )
        if isinstance(verdict, Granted):
            principal: Principal | AnonymousPrincipal = verdict.principal
            access = verdict.access
            if access is None or access.face is not self:
                access = _Request(verdict, self)
                verdict.keep(access)
            if self._strip:
                environ.pop("HTTP_AUTHORIZATION", None)
        elif self._required or verdict.reason not in DEFERRED:
            return self._refuse(environ, start_response, (), verdict)
        else:
            principal, access = ANONYMOUS, _Request(verdict, self)
        environ["keymw.principal"] = principal
        environ["keymw.scopes"] = principal.scopes
        environ[KEY] = access
        begun: list[str] = []

        def respond(
            status: str, headers: list[tuple[str, str]], *exc_info: Any
        ) -> Callable[[bytes], object]:
            begun.append(status)
            return start_response(status, _with_vary(headers), *exc_info)

        token = current.set(environ)
        try:
            body = self._serve(environ, respond)
        except AccessDenied as error:
            return self._refuse(environ, start_response, begun, error.denied)
        finally:
            current.reset(token)
        if type(body) in (list, tuple) or _is_file(environ, body):
            return body
        return _Body(body, environ, partial(self._refuse, environ, start_response, begun))

    def _serve_first(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve the first request, by when all routes are there; an app that fails serves none."""
        from keymw.routes import check  # noqa: PLC0415 - for lightness

        check(self.app, self._keys.catalog)
        self._serve = self._guarded
        return self._guarded(environ, start_response)

    def _verdict(self, value: str) -> Granted | Denied:
        try:
            raw = value.encode("latin-1")
        except UnicodeEncodeError:
            # No server may pass this on (PEP 3333, "bytes in disguise"); nobody sent it as such.
            return MALFORMED
        return self._keys.peek(raw) or self._keys.authenticate(raw)

    def _refuse(
        self,
        environ: Environ,
        start_response: StartResponse,
        begun: Sequence[str],
        denied: Denied,
    ) -> Iterable[bytes]:
        refusal = self.answer(denied)
        # PEP 3333 wants the exception only where an answer has begun; uWSGI cannot take one.
        exc_info = (sys.exc_info(),) if begun else ()
        start_response(f"{refusal.status} {refusal.phrase}", list(refusal.headers), *exc_info)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [refusal.body]

    def answer(self, denied: Denied) -> Answer:
        """Return what is answered to a refusal."""
        return answer(denied, self._realm, self._keys.settings.retry_after)


class _Request(Access):
    """Who a request is. Requests with the same key share one."""

    __slots__ = ("face",)

    def __init__(self, verdict: Verdict, face: KeyAuthMiddleware) -> None:
        self.verdict = verdict
        self.face = face

    def answer(self, denied: Denied) -> Answer:
        """Return what is answered to a refusal."""
        return self.face.answer(denied)


class _Body:
    """A body that the server draws after the app has returned: still within the request.

    The context variable is set around each step and never between them, so the server's thread
    does not carry it into the next request, even if the server never closes this one.
    """

    def __init__(
        self, body: Iterable[bytes], environ: Environ, refuse: Callable[..., Iterable[bytes]]
    ) -> None:
        self._body = body
        self._environ = environ
        self._refuse = refuse
        self._chunks: Iterator[bytes] | None = None
        self._begun = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = current.set(self._environ)
        try:
            if self._chunks is None:
                self._chunks = iter(self._body)
            chunk = next(self._chunks)
        except AccessDenied as error:
            # PEP 3333 lets an app begin to run when its first chunk is drawn.
            if self._begun:
                raise
            self._chunks = iter(self._refuse(error.denied))
            chunk = next(self._chunks)
        finally:
            current.reset(token)
        self._begun = True
        return chunk

    def close(self) -> None:
        """Close the app's body, if it can be closed."""
        close = getattr(self._body, "close", None)
        if close is not None:
            token = current.set(self._environ)
            try:
                close()
            finally:
                current.reset(token)


def _is_file(environ: Environ, body: object) -> bool:
    """Say whether the server may send this body its own, faster way."""
    wrapper = environ.get("wsgi.file_wrapper")
    return inspect.isclass(wrapper) and isinstance(body, wrapper)


def _with_vary(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers with `Authorization` in `Vary`."""
    found = list(headers)
    for index, (name, value) in enumerate(found):
        if len(name) == 4 and name.lower() == "vary":  # noqa: PLR2004
            found[index] = (name, vary_on_authorization(value))
            return found
    found.append(("Vary", "Authorization"))
    return found
