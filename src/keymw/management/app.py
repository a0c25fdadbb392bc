"""The management API as an app: the operations behind keymw's own middleware."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keymw.access import current_principal
from keymw.asgi import KeyAuthMiddleware
from keymw.decorators import require_scopes
from keymw.errors import KeymwError
from keymw.http import check_realm
from keymw.management.answers import NewSecret
from keymw.management.desk import Desk, check_service
from keymw.management.github import Alerts, read_keys
from keymw.management.openapi import describe
from keymw.management.operations import OPERATIONS, Call
from keymw.management.problems import answer, problem
from keymw.management.reading import read_body, read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.exceptions import HTTPException

    from keymw.aio import AsyncKeyService
    from keymw.management.desk import MayManage
    from keymw.management.github import GitHubKeys
    from keymw.management.operations import Operation
    from keymw.principals import UserPrincipal

    View = Callable[[Request], Awaitable[Response]]

_NO_STORE = {"cache-control": "no-store"}


def create_app(
    keys: AsyncKeyService,
    *,
    may_manage: MayManage | None = None,
    realm: str = "keymw",
    github_keys: GitHubKeys | None = None,
) -> Starlette:
    """Return the management API, to be mounted in an ASGI app or to be run alone.

    It protects itself, with personal keys that hold `api_key:read` or `api_key:write`.

    Args:
        keys: whose keys are managed. Run alone, the app starts and closes it; mounted, that is up
            to the app around it.
        may_manage: called with the principal and the project's id (`async` or not); says whether
            the user may manage the project's keys. Whose projects are whose, keymw does not know:
            without it, every personal key that is not limited to projects reaches all of them.
        realm: protection space named in challenges.
        github_keys: takes GitHub's secret scanning alerts at `/leaks/github`: `"github"` for
            GitHub's own public keys, or keys by identifier (PEM), or an async callable that
            returns such. None: there is no such endpoint.

    Raises:
        TypeError: `keys` is no `AsyncKeyService`.
        ValueError: the service's catalog has no `api_key` scopes, or the realm or a public key is
            not one.
    """
    check_service(keys, "keymw.management")
    app = Starlette(
        routes=_routes(keys, may_manage, github_keys),
        middleware=[Middleware(KeyAuthMiddleware, keys, realm=check_realm(realm))],
        exception_handlers=_handlers(keys.settings.retry_after),
    )
    app.router.redirect_slashes = False  # a key has one address
    return app


def _routes(
    keys: AsyncKeyService, may_manage: MayManage | None, github_keys: GitHubKeys | None
) -> list[Route]:
    paths: dict[str, dict[str, View]] = {}
    for operation in OPERATIONS:
        views = paths.setdefault(operation.path, {})
        views[operation.method] = _view(operation, keys, may_manage)
    routes = [_route(path, views) for path, views in paths.items()]
    routes.append(_route("/openapi.json", {"GET": _document(describe(keys.catalog))}))
    if github_keys is not None:
        alerts = Alerts(keys, read_keys(github_keys))
        routes.append(_route("/leaks/github", {"POST": alerts.receive}))
    return routes


def _route(path: str, views: dict[str, View]) -> Route:
    """Return one route for all methods of a path, so that 405 names them all."""

    async def endpoint(request: Request) -> Response:
        return await views["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=list(views))


def _view(operation: Operation, keys: AsyncKeyService, may_manage: MayManage | None) -> View:
    @require_scopes(operation.scope)
    async def view(request: Request) -> Response:
        principal = cast("UserPrincipal", current_principal())  # or it would not be here
        read = operation.body
        call = Call(
            desk=Desk(keys, principal, may_manage),
            project_id=request.path_params.get("project_id"),
            key_id=request.path_params.get("key_id", ""),
            body=read and await read_body(request, read, needed=operation.needs_body),
            query=operation.query and read_query(request, operation.query),
        )
        done = await operation.run(call)
        headers = dict(_NO_STORE)
        if operation.status is HTTPStatus.CREATED and isinstance(done, NewSecret):
            headers["location"] = f"{quote(request.scope['path'])}/{done.key.id}"
        return Response(
            done.model_dump_json(), operation.status.value, headers, media_type="application/json"
        )

    return view


def _document(described: dict[str, Any]) -> View:
    async def document(request: Request) -> Response:
        mounted_at = request.scope.get("root_path") or "/"
        return JSONResponse({**described, "servers": [{"url": mounted_at}]}, headers=_NO_STORE)

    return document


def _handlers(retry_after: int) -> dict[Any, Callable[[Request, Any], Awaitable[Response]]]:
    async def explain(request: Request, error: KeymwError) -> Response:  # noqa: ARG001
        return answer(error, retry_after)

    async def not_served(request: Request, error: HTTPException) -> Response:  # noqa: ARG001
        status = HTTPStatus(error.status_code)
        detail = {
            HTTPStatus.NOT_FOUND: "There is nothing at this address.",
            HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take this method.",
        }[status]
        code = status.phrase.lower().replace(" ", "_")
        return problem(status, code, detail, headers=error.headers)

    async def gone(request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # which nobody reads any more

    return {KeymwError: explain, 404: not_served, 405: not_served, ClientDisconnect: gone}
