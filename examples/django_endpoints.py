"""Saved endpoints in Django: people configure them with personal keys, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    PYTHONPATH=examples waitress-serve --port 8000 django_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

The same under ASGI: `uvicorn --app-dir examples django_endpoints:asgi_app`.
"""

from __future__ import annotations

import contextvars
import os
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from django.views import View
from django.views.decorators.http import require_http_methods, require_safe

from endpoints_data import (
    EndpointError,
    Refreshes,
    SavedEndpoints,
    describe,
    export,
    parse_object,
)
from keymw import (
    AsyncKeyService,
    KeyKind,
    KeyService,
    ScopeCatalog,
    Settings,
    current_principal,
    require_scopes,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

database = os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db")
options: dict[str, Any] = {
    "redis": os.environ.get("KEYMW_REDIS_URL"),
    "settings": Settings.from_env(os.environ),
    "catalog": ScopeCatalog({"endpoint": ("read", "write")}, project_secret=["endpoint:read"]),
}
keys = KeyService(database, **options)
async_keys = AsyncKeyService(database, **options)

settings.configure(
    ALLOWED_HOSTS=["*"],
    # Nothing here goes by a cookie, so nothing needs a token against forged requests.
    MIDDLEWARE=["keymw.integrations.django.KeyAuthMiddleware", f"{__name__}.JsonErrors"],
    KEYMW={"SERVICE": f"{__name__}.keys", "ASYNC_SERVICE": f"{__name__}.async_keys"},
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "loggers": {"django.request": {"level": "ERROR"}},
    },  # not each 404
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.urandom(32).hex(),  # nothing is signed with it
)

endpoints = SavedEndpoints()
refreshes = Refreshes()

reads = require_scopes("endpoint:read", project="project_id")
writes = require_scopes("endpoint:write", project="project_id")
runs = require_scopes(
    "endpoint:read", kinds=[KeyKind.PROJECT_SECRET, KeyKind.PERSONAL], project="project_id"
)


class JsonErrors(MiddlewareMixin):
    """Says in JSON what went wrong."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:  # noqa: ARG002
        """Answer what cannot be served."""
        if isinstance(error, EndpointError):
            return JsonResponse({"detail": error.detail}, status=error.status)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:  # noqa: ARG002
        """Say which URL or method there is not."""
        if response.status_code in (404, 405) and response["Content-Type"] != "application/json":
            response.content = JsonResponse({"detail": response.reason_phrase}).content
            response["Content-Type"] = "application/json"
        return response


class EndpointList(View):
    """The endpoints of a project."""

    @reads
    def get(self, request: HttpRequest, project_id: str) -> HttpResponse:  # noqa: ARG002
        """List them."""
        return JsonResponse(endpoints.of(project_id), safe=False)

    @writes
    def post(self, request: HttpRequest, project_id: str) -> HttpResponse:
        """Save a new one."""
        endpoint = endpoints.create(project_id, parse_object(request.body))
        return JsonResponse(asdict(endpoint), status=201)


class EndpointDetail(View):
    """One endpoint."""

    @reads
    def get(self, request: HttpRequest, project_id: str, name: str) -> HttpResponse:  # noqa: ARG002
        """Show it."""
        return JsonResponse(asdict(endpoints.get(project_id, name)))

    @writes
    def patch(self, request: HttpRequest, project_id: str, name: str) -> HttpResponse:
        """Change what it asks."""
        endpoint = endpoints.update(project_id, name, parse_object(request.body))
        return JsonResponse(asdict(endpoint))

    @writes
    def delete(self, request: HttpRequest, project_id: str, name: str) -> HttpResponse:  # noqa: ARG002
        """Forget it."""
        endpoints.delete(project_id, name)
        return HttpResponse(status=204)


@require_http_methods(["GET", "HEAD", "POST"])
@runs
def run_endpoint(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    endpoint = endpoints.get(project_id, name)
    parameters = request.GET.dict()
    if request.method == "POST":
        parameters = parse_object(request.body)
    return JsonResponse(endpoint.run(parameters))


@require_safe
@runs
def export_orders(request: HttpRequest, project_id: str) -> HttpResponse:  # noqa: ARG001
    return StreamingHttpResponse(streamed(request, export()), content_type="text/plain")


def streamed(request: HttpRequest, lines: Iterator[str]) -> Iterator[str] | AsyncIterator[str]:
    """Give Django a stream in the form that it wants, which under ASGI is another one."""

    async def drawn() -> AsyncIterator[str]:
        for line in lines:
            yield line

    return drawn() if hasattr(request, "scope") else lines


@require_http_methods(["GET", "HEAD", "POST"])
@runs
def refresh(request: HttpRequest, project_id: str) -> HttpResponse:
    if request.method != "POST":
        return JsonResponse(refreshes.last(project_id))
    # The work goes on as whoever has asked for it.
    work = contextvars.copy_context()
    threading.Thread(target=work.run, args=(refreshes.run, project_id)).start()
    return JsonResponse({}, status=202)


@require_safe
def whoami(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return JsonResponse(describe(current_principal()))


@require_safe
def health(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return JsonResponse({"status": "ok"})


of_project = "api/projects/<project_id>"
urlpatterns = [
    path(f"{of_project}/endpoints", EndpointList.as_view()),
    path(f"{of_project}/endpoints/<name>", EndpointDetail.as_view()),
    path(f"{of_project}/endpoints/<name>/run", run_endpoint),
    path(f"{of_project}/export", export_orders),
    path(f"{of_project}/refresh", refresh),
    path("whoami", whoami),
    path("health", health),
]

app = get_wsgi_application()
asgi_app = get_asgi_application()
