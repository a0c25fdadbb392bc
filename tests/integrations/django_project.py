"""A Django project: every form of view that Django knows, guarded. Also its root URLconf."""

from __future__ import annotations

from contextvars import copy_context
from io import BytesIO
from threading import Thread

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [
                "keymw.integrations.rest_framework.KeyAuthentication"
            ],
            "DEFAULT_PERMISSION_CLASSES": ["keymw.integrations.rest_framework.HasScopes"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        ROOT_URLCONF="integrations.django_project",
        SECRET_KEY="not-a-secret-of-anybody",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        USE_TZ=True,
    )
    django.setup()

from django.core.exceptions import PermissionDenied
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View

from decorators.guards import guard, humans, of_project, timed, timed_async, who
from keymw import require_scopes
from keymw.errors import AccessDenied


def answer(*_, **__):
    return HttpResponse(who())


def open_(request):
    return HttpResponse(who() or "nobody")


@guard
def sync(request):
    return HttpResponse(who())


@guard
async def asynchronous(request):
    return HttpResponse(who())


class Methods(View):
    @guard
    def get(self, request):
        return HttpResponse(who())


class AsyncMethods(View):
    @guard
    async def get(self, request):
        return HttpResponse(who())


@guard
class Whole(View):
    def get(self, request):
        return HttpResponse(who())


@guard
class AsyncWhole(View):
    async def get(self, request):
        return HttpResponse(who())


class Method(View):
    @method_decorator(guard)
    def get(self, request):
        return HttpResponse(who())


class AsyncMethod(View):
    @method_decorator(guard)
    async def get(self, request):
        return HttpResponse(who())


@method_decorator(guard, name="dispatch")
class Dispatch(View):
    def get(self, request):
        return HttpResponse(who())


@method_decorator(guard, name="dispatch")
class AsyncDispatch(View):
    async def get(self, request):
        return HttpResponse(who())


class Plain(View):
    def get(self, request):
        return HttpResponse(who())

    def options(self, request):
        return HttpResponse(who())


class AsyncPlain(View):
    async def get(self, request):
        return HttpResponse(who())


class Asks(View):
    """Its method takes nothing that is a request: Django's is the view's own."""

    def get(self, request):
        return self.answer()

    @guard
    def answer(self):
        return HttpResponse(who())


@timed
@guard
def above(request):
    return HttpResponse(who())


@guard
@timed_async
async def below(request):
    return HttpResponse(who())


@guard
@require_scopes("endpoint:read", kinds=["personal", "project_secret"])
def stacked(request):
    return HttpResponse(who())


@of_project
def project(request, project_id):
    return HttpResponse(f"{who()} in {project_id}")


@humans
def only_humans(request):
    return HttpResponse(who())


def lines(request):
    """Give the same stream in the form that Django wants of it."""

    def drawn():
        try:
            for _ in range(3):
                yield f"{who()}\n"
        finally:
            ended.append(who())

    async def drawn_async():
        for line in drawn():
            yield line

    return drawn_async() if hasattr(request, "scope") else drawn()


#: Who it was when a stream ended.
ended: list[str] = []


@guard
def stream(request):
    return StreamingHttpResponse(lines(request))


def helped(request):
    """Ask a guarded function that is no view, and is not told of the request."""
    return HttpResponse(helper())


@guard
def helper():
    return who()


def either(request):
    try:
        return only_humans(request)
    except AccessDenied as error:
        return HttpResponse(f"no: {error}")


def varies(request):
    return HttpResponse(who(), headers={"Vary": "Accept, Cookie"})


def says_credentials(request):
    """Say what of the credentials a view can still see, by every name that Django has for them."""
    seen = [request.headers.get("Authorization"), request.META.get("HTTP_AUTHORIZATION")]
    return HttpResponse(" ".join(map(str, seen)))


def a_file(request):
    return FileResponse(BytesIO(who().encode()), filename="who.txt")


def in_a_thread(request):
    """Ask in the background, as long as Django has nothing for that itself."""
    found = []
    thread = Thread(target=copy_context().run, args=(lambda: found.append(who()),))
    thread.start()
    thread.join()
    return HttpResponse(found[0] or "nobody")


def user(request):
    return HttpResponse(str(getattr(request, "user", "none")))


def denied(request):
    raise PermissionDenied("by the app")


VIEWS = {
    "sync": sync,
    "async": asynchronous,
    "methods": Methods.as_view(),
    "async-methods": AsyncMethods.as_view(),
    "whole": Whole.as_view(),
    "async-whole": AsyncWhole.as_view(),
    "method": Method.as_view(),
    "async-method": AsyncMethod.as_view(),
    "dispatch": Dispatch.as_view(),
    "async-dispatch": AsyncDispatch.as_view(),
    "as-view": guard(Plain.as_view()),
    "async-as-view": guard(AsyncPlain.as_view()),
    "asks": Asks.as_view(),
    "above": above,
    "below": below,
    "stacked": stacked,
    "stream": stream,
    "helped": helped,
}

urlpatterns = [
    *(path(name, view) for name, view in VIEWS.items()),
    path("open", open_),
    path("humans", only_humans),
    path("either", either),
    path("denied", denied),
    path("varies", varies),
    path("credentials", says_credentials),
    path("file", a_file),
    path("thread", in_a_thread),
    path("user", user),
    path("elsewhere", of_project(answer)),
    path("projects/<str:project_id>/x", project),
    path("number/<int:project_id>/x", project),
    path("included/<project_id>/", include([path("x", project)])),
]


class Marks:
    """A middleware as there are many: it adds to every answer."""

    sync_capable = async_capable = True

    def __init__(self, get_response):
        from asgiref.sync import iscoroutinefunction, markcoroutinefunction

        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request):
        if self._is_async:
            return self._marked_async(request)
        return self._marked(self._get_response(request))

    async def _marked_async(self, request):
        return self._marked(await self._get_response(request))

    def _marked(self, response):
        response.headers["X-Mark"] = "1"
        return response


class OnlySync(Marks):
    """One that knows nothing of `async`, so that Django calls what is outside of it like it."""

    async_capable = False


class Restyles(Marks):
    """One that answers refusals its own way."""

    def process_exception(self, request, exception):
        if isinstance(exception, AccessDenied):
            return HttpResponse(f"restyled: {exception.denied.reason}", status=418)
        return None


class LogsIn(Marks):
    """Stands for Django's sessions: it says who has logged in."""

    def __call__(self, request):
        request.user = "user-9"
        return super().__call__(request)


class ReadsHeaders(Marks):
    """One that has Django make `request.headers` before keymw is there."""

    def __call__(self, request):
        assert request.headers is request.headers
        return super().__call__(request)
