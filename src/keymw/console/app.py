"""The console as an app: who is signed in, and which page is asked for."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from keymw.clock import SystemClock
from keymw.console import views
from keymw.console.forms import one, read_form, status_of
from keymw.console.headers import SafeHeaders
from keymw.console.pages import mounted_at, render
from keymw.console.session import Session, Sessions, is_foreign
from keymw.console.visit import Visit
from keymw.errors import KeymwError, StoreUnavailable
from keymw.management.desk import READ, Desk, check_service
from keymw.model import Denied, Granted, Reason, Verdict
from keymw.principals import KeyKind, UserPrincipal, holds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from keymw.aio import AsyncKeyService
    from keymw.management.desk import MayManage

    View = Callable[[Visit], Awaitable[Response]]

_STATIC = Path(__file__).parent / "static"

#: Addresses below a place: what is shown there, and what a form that is sent there does.
_PAGES: tuple[tuple[str, View, View | None], ...] = (
    ("", views.keys, None),
    ("/new", views.new, views.create),
    ("/history", views.log, None),
    ("/keys/{key_id}", views.key, None),
    ("/keys/{key_id}/edit", views.edit, views.update),
    ("/keys/{key_id}/roll", views.roll_form, views.roll),
    ("/keys/{key_id}/delete", views.delete_form, views.delete),
    ("/keys/{key_id}/history", views.log_of_key, None),
)
_HEADINGS = {
    400: "This form cannot be read",
    403: "This is not allowed",
    404: "There is nothing here",
    405: "There is nothing here",
    409: "This cannot be done now",
    413: "This form is too large",
    415: "This form cannot be read",
    422: "This address is not right",
    503: "The keys cannot be reached",
}
_AGAIN = "You are still signed in: try again shortly."


def create_app(
    keys: AsyncKeyService,
    *,
    secret: str | Sequence[str],
    may_manage: MayManage | None = None,
    session_age: int = 8 * 3600,
    secure: bool = True,
) -> Starlette:
    """Return the console, to be mounted in an ASGI app or to be run alone.

    People sign in with a personal key that holds `api_key:read`, and `api_key:write` to change
    keys. It needs no other login and keeps nothing in the server.

    Args:
        keys: whose keys are managed. Run alone, the app starts and closes it; mounted, that is up
            to the app around it.
        secret: what sessions are signed with, the same in every process: at least 16 random
            characters. To change it, give several, the new one last.
        may_manage: as for the management API: says whether a user may manage a project's keys.
            Without it, a personal key that is not limited to projects reaches all of them.
        session_age: seconds after which one has to sign in again.
        secure: sessions go over https only. False is for http on one's own machine.

    Raises:
        TypeError: `keys` is no `AsyncKeyService`.
        ValueError: the secret is too short, the age is none, or the service's catalog has no
            `api_key` scopes.
    """
    check_service(keys, "keymw.console")
    door = _Door(keys, Sessions(secret, session_age, secure=secure), may_manage)
    routes = [
        Route("/", door.view(views.home)),
        Route("/sign-in", door.show_sign_in),
        Route("/sign-in", door.sign_in, methods=["POST"]),
        Route("/sign-out", door.sign_out, methods=["POST"]),
        Route("/go", _go),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    for place in ("/me", "/projects/{project_id}"):
        for path, shown, done in _PAGES:
            routes.append(_route(place + path, door, shown, done))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(SafeHeaders)],
        exception_handlers=_handlers(keys.settings.retry_after),
        lifespan=_lifespan(keys),
    )
    app.router.redirect_slashes = False
    return app


class _Door:
    """Lets people in, and looks again at every request whether they still may."""

    def __init__(
        self, keys: AsyncKeyService, sessions: Sessions, may_manage: MayManage | None
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._may_manage = may_manage
        self._clock = SystemClock()

    def view(self, page: View) -> Callable[[Request], Awaitable[Response]]:
        """Return a page as an endpoint for those who are signed in."""

        async def endpoint(request: Request) -> Response:
            session = self._sessions.read(request)
            if session is None:
                return _to_sign_in(request)
            verdict = await self._keys.recheck(session.digest)
            if _refusal(verdict) is not None:
                response = _to_sign_in(request, "?ended=1")
                self._sessions.end(response, mounted_at(request))
                return response
            principal = verdict.principal if isinstance(verdict, Granted) else None
            if not isinstance(principal, UserPrincipal):  # `_refusal` has seen to it
                raise TypeError(f"{principal!r} is no user.")
            visit = Visit(
                request=request,
                session=session,
                principal=principal,
                desk=Desk(self._keys, principal, self._may_manage),
                form=await _read(request, session) if request.method == "POST" else {},
                now=self._clock.now(),
                catalog=self._keys.catalog,
            )
            return await page(visit)

        return endpoint

    async def show_sign_in(self, request: Request) -> Response:
        """Ask for a key."""
        ended = "ended" in request.query_params
        return render(request, "sign_in.html", errors={}, ended=ended)

    async def sign_in(self, request: Request) -> Response:
        """Begin a session, if the key is a person's who may at least look."""
        _check_origin(request)
        token = one(await read_form(request), "token").strip()
        refusal = _refusal(await self._keys.verify(token))
        if refusal is not None:
            return render(request, "sign_in.html", 422, errors={"token": refusal}, ended=False)
        response = RedirectResponse(f"{mounted_at(request)}/me", 303)
        self._sessions.begin(response, token, mounted_at(request))
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session, also one whose key works no more."""
        response = _to_sign_in(request)
        session = self._sessions.read(request)
        if session is not None:
            await _read(request, session)
            self._sessions.end(response, mounted_at(request))
        return response


def _refusal(verdict: Verdict) -> str | None:
    """Return why somebody with this key is not let in, None if they are.

    Raises:
        StoreUnavailable: nobody knows at the moment.
    """
    if isinstance(verdict, Denied):
        if verdict.reason is Reason.UNAVAILABLE:
            raise StoreUnavailable(verdict.detail)
        return verdict.detail
    if verdict.principal.kind is KeyKind.PROJECT_SECRET:
        return "This is a project's key. Only people configure: sign in with a personal key."
    if not holds(verdict.principal, READ):
        return f"This key has not the scope {READ}."
    return None


async def _read(request: Request, session: Session) -> dict[str, list[str]]:
    """Return a form that a page of this session has sent."""
    _check_origin(request)
    form = await read_form(request)
    sent = request.headers.get("x-csrf-token") or one(form, "csrf")
    if not session.has_sent(sent):
        raise HTTPException(403, "The form is from another session. Load its page again.")
    return form


def _check_origin(request: Request) -> None:
    if is_foreign(request):
        raise HTTPException(403, "The form was sent by another site.")


def _to_sign_in(request: Request, why: str = "") -> Response:
    return RedirectResponse(f"{mounted_at(request)}/sign-in{why}", 303)


async def _go(request: Request) -> Response:
    """Go to the page of the project whose id was typed."""
    project_id = request.query_params.get("project", "").strip()
    where = f"/projects/{quote(project_id, safe='')}" if project_id else "/me"
    return RedirectResponse(mounted_at(request) + where, 303)


def _route(path: str, door: _Door, shown: View, done: View | None) -> Route:
    """Return one route for both methods of an address, so that 405 names them all."""
    show, do = door.view(shown), door.view(done or shown)

    async def endpoint(request: Request) -> Response:
        return await (do if request.method == "POST" else show)(request)

    return Route(path, endpoint, methods=["GET"] if done is None else ["GET", "POST"])


def _lifespan(
    keys: AsyncKeyService,
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        await keys.start()
        yield
        await keys.aclose()

    return lifespan


def _handlers(retry_after: int) -> dict[Any, Callable[[Request, Any], Awaitable[Response]]]:
    async def explain(request: Request, error: KeymwError) -> Response:
        if isinstance(error, StoreUnavailable):  # whose text is for those who run the database
            page = _problem(request, 503, _AGAIN)
            page.headers["retry-after"] = str(retry_after)
            return page
        return _problem(request, status_of(error), str(error))

    async def not_served(request: Request, error: HTTPException) -> Response:
        detail = error.detail
        if detail == HTTPStatus(error.status_code).phrase:
            detail = "There is no such page."
        page = _problem(request, error.status_code, detail)
        page.headers.update(error.headers or {})
        return page

    async def gone(request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # which nobody reads any more

    return {KeymwError: explain, HTTPException: not_served, ClientDisconnect: gone}


def _problem(request: Request, status: int, detail: str) -> Response:
    heading = _HEADINGS.get(status, "This cannot be done")
    return render(request, "problem.html", status, heading=heading, detail=detail)
