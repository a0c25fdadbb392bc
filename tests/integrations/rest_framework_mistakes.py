"""A root URLconf of views that do not say what they demand, or say what is no demand."""

from __future__ import annotations

from django.urls import include, path

from integrations.rest_framework_project import (
    APIView,
    SimpleRouter,
    Takes,
    ViewSet,
    action,
    api_view,
)
from keymw.integrations.rest_framework import HasScopes


class OneString(Takes):
    required_scopes = "endpoint:read"


class Misspelt(Takes):
    required_scope = ("endpoint:read",)


class NoScope(Takes):
    required_scopes = ("Endpoint:read",)


class NoKind(Takes):
    required_scopes = ("endpoint:read",)
    allowed_kinds = ("robot",)


class NoSuchMethod(Takes):
    required_scopes = {"get": ["endpoint:read"]}  # noqa: RUF012


class Within(APIView):
    permission_classes = (~HasScopes,)
    get = Takes.get


@api_view(["GET"])
def a_function(request):
    raise AssertionError("reached")


class Actions(ViewSet):
    permission_classes = ()

    @action(detail=False, permission_classes=[HasScopes])
    def extra(self, request):
        raise AssertionError("reached")


router = SimpleRouter(trailing_slash=False)
router.register("actions", Actions, basename="actions")

VIEWS = {view.__name__: view.as_view() for view in (OneString, Misspelt, NoScope, NoKind)}
VIEWS |= {"NoSuchMethod": NoSuchMethod.as_view(), "Within": Within.as_view()}
VIEWS |= {"a_function": a_function}

urlpatterns = [
    *(path(name, view) for name, view in VIEWS.items()),
    path("", include(router.urls)),
]
