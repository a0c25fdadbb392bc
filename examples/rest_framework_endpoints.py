"""Saved endpoints in Django REST framework: people configure them, machines run them.

From the repository's root (KEYMW_DATABASE_URL and KEYMW_REDIS_URL say where the keys live)::

    keymw migrate
    keymw issue project 2 nightly-report --scope endpoint:read
    keymw issue personal user-7 laptop --scope endpoint:write
    PYTHONPATH=examples waitress-serve --port 8000 rest_framework_endpoints:app
    curl -H "Authorization: Bearer $KEY" localhost:8000/api/projects/2/endpoints/revenue/run

`django_endpoints.py` is the same in Django alone, and under ASGI too.
"""

# ruff: noqa: E402 - REST framework reads the settings when it is imported

from __future__ import annotations

import contextvars
import os
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["keymw.integrations.rest_framework.KeyAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["keymw.integrations.rest_framework.HasScopes"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "EXCEPTION_HANDLER": f"{__name__}.explain",
        "UNAUTHENTICATED_USER": None,  # which would be one of Django's own, and there are none
    },
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "loggers": {"django.request": {"level": "ERROR"}},
    },  # not each 404
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.urandom(32).hex(),  # nothing is signed with it
)

from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from endpoints_data import (
    EndpointError,
    Refreshes,
    SavedEndpoints,
    describe,
    export,
    parse_object,
)
from keymw import KeyKind, KeyService, ScopeCatalog, Settings, current_principal
from keymw.integrations.rest_framework import exception_handler
from keymw.wsgi import KeyAuthMiddleware

if TYPE_CHECKING:
    from django.http import HttpRequest
    from rest_framework.request import Request

keys = KeyService(
    os.environ.get("KEYMW_DATABASE_URL", "sqlite:///keymw.db"),
    redis=os.environ.get("KEYMW_REDIS_URL"),
    settings=Settings.from_env(os.environ),
    catalog=ScopeCatalog({"endpoint": ("read", "write")}, project_secret=["endpoint:read"]),
)
endpoints = SavedEndpoints()
refreshes = Refreshes()

READ, WRITE = ["endpoint:read"], ["endpoint:write"]


class EndpointList(APIView):
    """The endpoints of a project."""

    required_scopes = {"GET": READ, "POST": WRITE}  # noqa: RUF012 - REST framework's way
    project_parameter = "project_id"

    def get(self, request: Request, project_id: str) -> Response:  # noqa: ARG002
        """List them."""
        return Response(endpoints.of(project_id))

    def post(self, request: Request, project_id: str) -> Response:
        """Save a new one."""
        return Response(asdict(endpoints.create(project_id, parse_object(request.body))), 201)


class EndpointDetail(APIView):
    """One endpoint."""

    required_scopes = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}  # noqa: RUF012
    project_parameter = "project_id"

    def get(self, request: Request, project_id: str, name: str) -> Response:  # noqa: ARG002
        """Show it."""
        return Response(asdict(endpoints.get(project_id, name)))

    def patch(self, request: Request, project_id: str, name: str) -> Response:
        """Change what it asks."""
        endpoint = endpoints.update(project_id, name, parse_object(request.body))
        return Response(asdict(endpoint))

    def delete(self, request: Request, project_id: str, name: str) -> Response:  # noqa: ARG002
        """Forget it."""
        endpoints.delete(project_id, name)
        return Response(status=204)


class ForMachines(APIView):
    """What machines may do, as well as people."""

    required_scopes = READ
    allowed_kinds = (KeyKind.PROJECT_SECRET, KeyKind.PERSONAL)
    project_parameter = "project_id"


class Run(ForMachines):
    """The answer to an endpoint's question."""

    def get(self, request: Request, project_id: str, name: str) -> Response:
        """Filter by the query."""
        return Response(endpoints.get(project_id, name).run(request.query_params.dict()))

    def post(self, request: Request, project_id: str, name: str) -> Response:
        """Filter by the body."""
        return Response(endpoints.get(project_id, name).run(parse_object(request.body)))


class Export(ForMachines):
    """All orders."""

    def get(self, request: Request, project_id: str) -> StreamingHttpResponse:  # noqa: ARG002
        """Stream them."""
        return StreamingHttpResponse(export(), content_type="text/plain")


class Refresh(ForMachines):
    """Work in the background."""

    def get(self, request: Request, project_id: str) -> Response:  # noqa: ARG002
        """Say who has had it done last."""
        return Response(refreshes.last(project_id))

    def post(self, request: Request, project_id: str) -> Response:  # noqa: ARG002
        """Begin it; it goes on as whoever has asked for it."""
        work = contextvars.copy_context()
        threading.Thread(target=work.run, args=(refreshes.run, project_id)).start()
        return Response({}, 202)


@api_view(["GET"])
@permission_classes([AllowAny])
def whoami(request: Request) -> Response:  # noqa: ARG001
    return Response(describe(current_principal()))


@api_view(["GET"])
@permission_classes([AllowAny])
def health(request: Request) -> Response:  # noqa: ARG001
    return Response({"status": "ok"})


def explain(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    if isinstance(error, EndpointError):
        return Response({"detail": error.detail}, error.status)
    if isinstance(error, MethodNotAllowed):
        error.detail = "Method Not Allowed"
    return exception_handler(error, context)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001
    return JsonResponse({"detail": "Not Found"}, status=404)


of_project = "api/projects/<project_id>"
urlpatterns = [
    path(f"{of_project}/endpoints", EndpointList.as_view()),
    path(f"{of_project}/endpoints/<name>", EndpointDetail.as_view()),
    path(f"{of_project}/endpoints/<name>/run", Run.as_view()),
    path(f"{of_project}/export", Export.as_view()),
    path(f"{of_project}/refresh", Refresh.as_view()),
    path("whoami", whoami),
    path("health", health),
]

app = KeyAuthMiddleware(get_wsgi_application(), keys)
