"""Pyramid: view configuration that demands, decorated views of every form, and exception views."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import logging
from threading import Thread

import pytest
from pyramid.authorization import Everyone
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.httpexceptions import HTTPException, HTTPForbidden, HTTPUnauthorized
from pyramid.request import Request
from pyramid.response import Response

from decorators.asking import INVALID, KIND, MISSING, NARROW, PROJECT, UNRECOGNIZED, check_problem
from integrations.bare import Bare
from keymw import current_principal, require_scopes
from keymw import wsgi as wsgi_face
from keymw.enforcing import demands_of
from keymw.errors import MiddlewareMissing
from keymw.integrations.pyramid import Refusal
from keymw.tokens import generate

BOTH = ["project_secret", "personal"]
demand = require_scopes("endpoint:read", kinds=BOTH)
project_demand = require_scopes("endpoint:read", kinds=BOTH, project="project_id")
#: The same in view configuration.
CONFIGURED = {"scopes": "endpoint:read", "kinds": BOTH}
OF_PROJECT = {**CONFIGURED, "project": "project_id"}


def who():
    return current_principal().display_name or "nobody"


def plain(request):
    return Response(who())


def with_context(context, request):
    return Response(who())


@demand
def function(request):
    return Response(who())


@demand
def function_with_context(context, request):
    return Response(who())


@demand
@demand
def stacked(request):
    return Response(who())


class Views:
    def __init__(self, request):
        self.request = request

    def __call__(self):
        return Response(who())

    @demand
    def method(self):
        return Response(who())

    @project_demand
    def of_project(self):
        return Response(self.request.matchdict["project_id"])


class ContextViews:
    """Keeps its request to itself."""

    def __init__(self, context, request):
        self._context = context

    @demand
    def method(self):
        return Response(who())


@demand
class Whole(Views):
    def __init__(self, request):
        super().__init__(request)


class Inheriting(Whole):
    def __init__(self, context, request):
        super().__init__(request=request)


class Careless(Whole):
    """Does not call what it is derived from."""

    def __init__(self, request):
        self.request = request


class Callable_:  # noqa: N801
    def __call__(self, request):
        return Response(who())


def view(request):
    return {"who": who()}


def undecorated(wrapped):
    @functools.wraps(wrapped)
    def wrapper(context, request):
        return wrapped(context, request)

    return wrapper


#: What `add_view` is given, by path.
VIEWS = {
    "/configured": {"view": plain, **CONFIGURED},
    "/configured-list": {"view": with_context, **CONFIGURED, "scopes": ["endpoint:read"]},
    "/configured-class": {"view": Views, **CONFIGURED},
    "/configured-attr": {"view": ContextViews, "attr": "method", **CONFIGURED},
    "/configured-object": {"view": Callable_(), **CONFIGURED},
    "/configured-renderer": {"view": view, "renderer": "json", **CONFIGURED},
    "/decorator": {"view": plain, "decorator": demand},
    "/decorators": {"view": Views, "decorator": (undecorated, demand)},
    "/function": {"view": function},
    "/function-with-context": {"view": function_with_context},
    "/stacked": {"view": stacked},
    "/method": {"view": Views, "attr": "method"},
    "/method-with-context": {"view": ContextViews, "attr": "method"},
    "/class": {"view": Whole},
    "/class-attr": {"view": Whole, "attr": "method"},
    "/inheriting": {"view": Inheriting},
    "/careless": {"view": Careless},
    "/object": {"view": demand(Callable_())},
    "/lambda": {"view": demand(lambda request: Response(who()))},
}
PROJECTS = {
    "/configured/{project_id}": {"view": plain, **OF_PROJECT},
    "/regex/{project_id:[^/]+}": {"view": plain, **OF_PROJECT},
    "/decorator/{project_id}": {"view": plain, "decorator": project_demand},
    "/method/{project_id}": {"view": Views, "attr": "of_project"},
}


def make(configure=None, views=None, **options):
    with Configurator(**options) as config:
        config.include("keymw.integrations.pyramid")
        for path, declared in (views or {**VIEWS, **PROJECTS}).items():
            config.add_route(path, path)
            config.add_view(route_name=path, **declared)
        config.add_route("open", "/open")
        config.add_view(plain, route_name="open")
        if configure is not None:
            configure(config)
        return config.make_wsgi_app()


@pytest.fixture
def wrap(keys):
    """Return what puts the middleware around an app."""
    return lambda app: wsgi_face.KeyAuthMiddleware(app, keys)


@pytest.mark.usefixtures("quiet")
def test_every_form_of_view(ask, wrap, tokens):
    app = wrap(make())
    for path in VIEWS:
        check_problem(ask(app, path), *MISSING)
        check_problem(ask(app, path, "not.ours"), *UNRECOGNIZED)
        check_problem(ask(app, path, generate("phs_")), *INVALID)
        check_problem(ask(app, path, tokens.narrow), *NARROW)
        for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
            answer = ask(app, path, token)
            assert (answer.status, answer.headers["vary"]) == (200, "Authorization")
            assert name in answer.body.decode()
    assert ask(app, "/open").body == b"nobody"
    head = ask(app, "/configured", method="HEAD")
    whole = ask(app, "/configured", headers={"Accept": "text/html"})
    assert (head.status, head.body) == (401, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.usefixtures("quiet")
def test_the_project_in_the_path_is_the_keys(ask, wrap, keys, tokens):
    app = wrap(make())
    limited = keys.issue_personal_key("user-7", "b", ["*"], projects=["2"]).token
    for pattern in PROJECTS:
        path = pattern.partition("{")[0]
        for token in (tokens.machine, limited):
            assert ask(app, f"{path}2", token).status == 200
            for other in ("3", "02", "%EF%BC%92", "2%20", "%32%32", "2%00", "2%0A", "-2"):
                check_problem(ask(app, path + other, token), *PROJECT)
            check_problem(ask(app, f"{path}3?project_id=2", token), *PROJECT)


@pytest.mark.usefixtures("quiet")
def test_traversal_has_no_project(ask, wrap, keys, tokens):
    class Root(dict):
        __name__ = __parent__ = None

    def root(request):
        return Root({"2": Root()})

    def configure(config):
        config.set_root_factory(root)
        config.add_view(plain, context=Root, name="configured", **OF_PROJECT)
        config.add_view(project_demand(plain), context=Root, name="decorated")
        config.add_view(plain, context=Root, name="kinds", **CONFIGURED)

    app = wrap(make(configure))
    everything = keys.issue_personal_key("user-7", "b", ["*"]).token
    for name in ("configured", "decorated"):
        for token in (tokens.machine, everything):
            check_problem(ask(app, f"/2/{name}?project_id=2", token), *PROJECT)
    assert ask(app, "/2/kinds", tokens.machine).body == b"machine"
    check_problem(ask(app, "/2/kinds"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_defaults_of_a_class_and_what_overrides_them(ask, wrap, tokens):
    class Defaulted(Views):
        __view_defaults__ = {"scopes": "endpoint:read"}  # noqa: RUF012 - as @view_defaults does

    def configure(config):
        for name, options in {
            "people": {},
            "both": {"kinds": BOTH},
            "narrower": {"kinds": BOTH, "scopes": ["endpoint:read", "flag:write"]},
            "any": {"kinds": BOTH, "scopes": []},
        }.items():
            config.add_route(name, f"/{name}")
            config.add_view(Defaulted, route_name=name, **options)

    app = wrap(make(configure))
    check_problem(ask(app, "/people", tokens.machine), *KIND)
    assert ask(app, "/people", tokens.person).body == b"user-7"
    assert ask(app, "/both", tokens.machine).body == b"machine"
    assert ask(app, "/narrower", tokens.machine).status == 403
    assert ask(app, "/any", tokens.narrow).body == b"narrow"
    check_problem(ask(app, "/any"), *MISSING)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": BOTH}, "kinds demands nothing"),
        ({"project": "project_id"}, "project demands nothing"),
        ({"scopes": "endpoint"}, "endpoint"),
        ({"scopes": "*"}, "'\\*'"),
        ({"scopes": "endpoint:read", "kinds": []}, "at least one kind"),
        ({"scopes": "endpoint:read", "kinds": ["robot"]}, "robot"),
        ({"scopes": "endpoint:read", "project": "other"}, "has no parameter other"),
        ({"scopes": "endpoint:read", "project": ""}, "name of a path parameter"),
    ],
)
def test_a_demand_that_is_none_fails_when_the_app_is_made(options, said):
    with pytest.raises(Exception, match=said) as caught:
        make(views={"/x/{project_id}": {"view": plain, **options}})
    assert "onfiguration" in type(caught.value).__name__


def test_parameters_that_a_route_may_have():
    project = {"view": plain, "scopes": "endpoint:read", "project": "project_id"}

    def adds_it(info, request):
        info["match"]["project_id"] = "2"
        return True

    def configure(config):
        config.add_route("predicated", "/x", custom_predicates=(adds_it,))
        config.add_view(route_name="predicated", **project)

    make(views=dict.fromkeys(("/a/:project_id", "/b/{x}/*project_id"), project))
    with pytest.warns(DeprecationWarning, match="custom_predicates"):
        make(configure)


def test_without_the_include_the_options_are_unknown():
    with pytest.raises(ConfigurationError, match="scopes"), Configurator() as config:
        config.add_view(plain, **CONFIGURED)


@pytest.mark.parametrize("thing", [dict, HTTPException, type("Empty", (), {})])
def test_a_class_that_is_made_for_no_request_is_no_view(thing):
    with pytest.raises(TypeError, match="no class-based view"):
        demand(thing)


def test_what_is_demanded_can_be_read():
    (declared,) = demands_of(Whole)
    assert declared.scopes == ("endpoint:read",)
    assert len(demands_of(stacked)) == 2
    assert len(demands_of(Views.method)) == 1
    assert demands_of(Views) == ()


def test_no_middleware_is_an_error_and_one_clear_line(ask, tokens, caplog):
    app = make()
    for path in (*VIEWS, "/configured/2", "/decorator/2", "/method/2"):
        caplog.clear()
        with pytest.raises(MiddlewareMissing):
            ask(Bare(app), path, tokens.machine)
        (entry,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
        assert "KeyAuthMiddleware" in entry.getMessage()
    with pytest.raises(MiddlewareMissing):
        Whole(object())
    assert ask(Bare(app), "/open", tokens.machine).body == b"nobody"


def test_an_outer_requests_key_opens_no_unwrapped_app(ask, wrap, tokens):
    inner = make()

    def outer(request):
        opened = []
        for path in VIEWS:
            subrequest = Request.blank(path, headers={"Authorization": f"Bearer {tokens.machine}"})
            with contextlib.suppress(MiddlewareMissing):
                opened.append(subrequest.get_response(inner).status)
        return Response(",".join(opened) or "none")

    app = wrap(make(views={"/outer": {"view": outer}}))
    assert ask(app, "/outer", tokens.machine).body == b"none"


@pytest.mark.usefixtures("quiet")
def test_a_subrequest_has_the_key_that_it_is_given(ask, wrap, tokens):
    def outer(request):
        subrequest = request.copy()
        subrequest.path_info = "/configured/" + request.GET["project"]
        return request.invoke_subrequest(subrequest, use_tweens=True)

    views = {**PROJECTS, "/outer": {"view": outer}}
    app = wrap(make(views=views))
    assert ask(app, "/outer?project=2", tokens.machine).body == b"machine"
    check_problem(ask(app, "/outer?project=3", tokens.machine), *PROJECT)


def test_a_blank_subrequest_has_none(ask, wrap, tokens):
    def outer(request):
        with pytest.raises(MiddlewareMissing):
            request.invoke_subrequest(Request.blank("/function"))
        return Response("refused")

    app = wrap(make(views={**VIEWS, "/outer": {"view": outer}}))
    assert ask(app, "/outer", tokens.machine).body == b"refused"


def restyle(error, request):
    response = request.response
    response.status = error.code
    response.headers["WWW-Authenticate"] = error.headers["WWW-Authenticate"]
    return {"oops": error.detail, "title": error.title}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "contexts", [(Refusal,), (HTTPUnauthorized, HTTPForbidden), (HTTPException,)], ids=str
)
def test_exception_views_restyle(ask, wrap, tokens, contexts):
    def configure(config):
        for context in contexts:
            config.add_exception_view(restyle, context=context, renderer="json")

    app = wrap(make(configure))
    for path in ("/configured", "/function"):
        for token, status, title, detail in (
            (None, 401, "Unauthorized", MISSING[2]),
            (tokens.narrow, 403, "Forbidden", NARROW[2]),
        ):
            answer = ask(app, path, token)
            assert answer.status == status
            assert json.loads(answer.body) == {"oops": detail, "title": title}
            assert answer.headers["www-authenticate"].startswith('Bearer realm="keymw"')


@pytest.mark.usefixtures("quiet")
def test_a_forbidden_view_leaves_other_refusals(ask, wrap, tokens):
    def forbidden(request):
        assert request.exception.result is None
        return Response("mine", status=403)

    app = wrap(make(lambda config: config.add_forbidden_view(forbidden)))
    check_problem(ask(app, "/configured"), *MISSING)
    assert ask(app, "/configured", tokens.narrow).body == b"mine"


@pytest.mark.usefixtures("quiet")
def test_what_the_app_adds_to_answers_is_kept(ask, wrap, tokens):
    def mark(event):
        event.response.headers["X-Mark"] = "1"

    app = wrap(make(lambda config: config.add_subscriber(mark, "pyramid.events.NewResponse")))
    answer = ask(app, "/configured")
    check_problem(answer, *MISSING)
    assert answer.headers["x-mark"] == "1"


class Policy:
    """Lets everybody do what is called `may`."""

    def permits(self, request, context, permission):
        return permission == "may"

    def authenticated_userid(self, request):
        return Everyone


@pytest.mark.usefixtures("quiet")
def test_permissions_and_csrf_are_asked_as_well(ask, wrap, tokens):
    def configure(config):
        config.set_security_policy(Policy())
        config.set_default_csrf_options(require_csrf=True)
        for name in ("may", "may-not"):
            config.add_route(name, f"/{name}")
            config.add_view(plain, route_name=name, permission=name, **CONFIGURED)
        config.add_route("exempt", "/exempt")
        config.add_view(plain, route_name="exempt", require_csrf=False, **CONFIGURED)

    app = wrap(make(configure))
    assert ask(app, "/may", tokens.machine).body == b"machine"
    check_problem(ask(app, "/may"), *MISSING)
    check_problem(ask(app, "/may", method="POST"), *MISSING)
    assert ask(app, "/may-not", tokens.machine).status == 403
    assert ask(app, "/exempt", tokens.machine, method="POST").body == b"machine"
    check_problem(ask(app, "/exempt", method="POST"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_views_of_a_route_have_demands_of_their_own(ask, wrap, tokens):
    def configure(config):
        config.add_route("multi", "/multi")
        config.add_view(plain, route_name="multi", request_method="GET", **CONFIGURED)
        config.add_view(plain, route_name="multi", request_method="POST", scopes="endpoint:read")

    app = wrap(make(configure))
    assert ask(app, "/multi", tokens.machine).body == b"machine"
    check_problem(ask(app, "/multi", tokens.machine, method="POST"), *KIND)
    assert ask(app, "/multi", tokens.person, method="POST").body == b"user-7"


@pytest.mark.usefixtures("quiet")
def test_streams_and_threads_are_the_requests_own(ask, wrap, tokens):
    def stream(request):
        return Response(app_iter=(who().encode() for _ in range(2)))

    def threaded(request):
        seen = []

        @demand
        def work():
            seen.append(who())

        thread = Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join()
        return Response(*seen)

    app = wrap(
        make(views={path.__name__: {"view": path, **CONFIGURED} for path in (stream, threaded)})
    )
    assert ask(app, "/stream", tokens.machine).body == b"machinemachine"
    assert ask(app, "/threaded", tokens.person).body == b"user-7"
    assert who() == "nobody"


@pytest.mark.usefixtures("quiet")
def test_a_request_of_the_apps_own_class(ask, wrap, tokens):
    class Own(Request):
        pass

    app = wrap(make(request_factory=Own))
    for path in VIEWS:
        assert ask(app, path, tokens.machine).status == 200
        check_problem(ask(app, path), *MISSING)
