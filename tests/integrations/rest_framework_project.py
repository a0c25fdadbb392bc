"""A project with REST framework: every form of its views, guarded. Also a root URLconf."""

from __future__ import annotations

from integrations import django_project  # noqa: F401 - REST framework reads its settings

# isort: split
from django.urls import include, path
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.permissions import AllowAny, IsAdminUser, IsAuthenticated
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from decorators.guards import KINDS, guard, of_project, who
from keymw.integrations.rest_framework import HasScopes

READ = ["endpoint:read"]


class Takes(APIView):
    """Any kind of key."""

    allowed_kinds = KINDS

    def get(self, request, **_):
        assert request.auth is None or set(request.auth.scopes) == {"endpoint:read"}
        return Response(who() if request.user is None else request.user.display_name)


class Declared(Takes):
    required_scopes = READ


class ByMethod(Takes):
    required_scopes = {"GET": READ, "POST": ["endpoint:write"]}  # noqa: RUF012 - its way

    def post(self, request):
        raise AssertionError("reached")


class OfProject(Declared):
    project_parameter = "project_id"


class Either(Declared):
    permission_classes = (IsAdminUser | HasScopes,)


class OnlyHumans(APIView):
    required_scopes = READ
    get = Takes.get


class Open(Takes):
    permission_classes = (AllowAny,)


class AnyKey(Takes):
    permission_classes = (IsAuthenticated,)


@guard
class Whole(Open):
    pass


class Method(Open):
    get = guard(Takes.get)


class MethodOfProject(Open):
    get = of_project(Takes.get)


@api_view(["GET"])
@permission_classes([AllowAny])
@guard
def below(request):
    return Response(who())


@guard
@api_view(["GET"])
@permission_classes([AllowAny])
def above(request):
    return Response(who())


class Set(ViewSet):
    allowed_kinds = KINDS
    required_scopes = READ

    def list(self, request):
        return Response(who())

    @guard
    def retrieve(self, request, pk):
        return Response(who())

    @action(detail=False, permission_classes=[AllowAny])
    @guard
    def below(self, request):
        return Response(who())

    @guard
    @action(detail=False, permission_classes=[AllowAny])
    def above(self, request):
        return Response(who())

    @action(detail=False, methods=["get"], required_scopes=["flag:write"])
    def other(self, request):
        return Response(who())


router = SimpleRouter(trailing_slash=False)
router.register("set", Set, basename="set")

#: Views that take what `guard` takes.
VIEWS = {
    "declared": Declared.as_view(),
    "by-method": ByMethod.as_view(),
    "whole": Whole.as_view(),
    "method": Method.as_view(),
    "below": below,
    "above": above,
}
SETS = ("set", "set/1", "set/below", "set/above")

urlpatterns = [
    *(path(name, view) for name, view in VIEWS.items()),
    path("", include(router.urls)),
    path("either", Either.as_view()),
    path("humans", OnlyHumans.as_view()),
    path("open", Open.as_view()),
    path("any", AnyKey.as_view()),
    path("projects/<project_id>/declared", OfProject.as_view()),
    path("projects/<project_id>/decorated", MethodOfProject.as_view()),
    path("number/<int:project_id>", OfProject.as_view()),
]
