"""Bottle: decorated views, plugins and hooks, error handlers, and its request of the thread."""

from __future__ import annotations

import contextvars
import io
import json
import logging
from threading import Thread
from wsgiref.util import setup_testing_defaults

import pytest
from bottle import Bottle, HTTPResponse, request, response
from flask import Flask

from decorators.asking import INVALID, KIND, MISSING, NARROW, PROJECT, UNRECOGNIZED, check_problem
from integrations.bare import Bare
from keymw import current_principal, require_scopes
from keymw import wsgi as wsgi_face
from keymw.errors import AccessDenied, MiddlewareMissing
from keymw.integrations.bottle import HandledRefusal, Refusal
from keymw.tokens import generate

BOTH = ["project_secret", "personal"]
demand = require_scopes("endpoint:read", kinds=BOTH)
project_demand = require_scopes("endpoint:read", kinds=BOTH, project="project_id")


def who():
    return current_principal().display_name or "nobody"


def make():  # noqa: C901 - one view a form
    app, merged, within = Bottle(), Bottle(), Bottle()

    @app.get("/open")
    def open_():
        return who()

    @app.get("/view")
    @demand
    def view():
        return who()

    @app.get("/dict")
    @demand
    def answers_a_dict():
        return {"who": who()}

    @app.get("/generator")
    @demand
    def generator():
        yield who()
        yield who()

    @app.get("/stacked")
    @demand
    @demand
    def stacked():
        return who()

    class Views:
        @demand
        def method(self):
            return who()

    app.route("/method", callback=Views().method)
    app.route("/applied", callback=who, apply=[demand])

    @app.get("/humans")
    @require_scopes("endpoint:read")
    def humans():
        return who()

    @app.get("/projects/<project_id>")
    @project_demand
    def project(project_id):
        return project_id

    @app.get("/number/<project_id:int>")
    @project_demand
    def number(project_id):
        return str(project_id)

    @app.get("/elsewhere/<other>")
    @project_demand
    def elsewhere(other):
        return other

    @merged.get("/in")
    @demand
    def in_merged():
        return who()

    @merged.get("/<project_id>/in")
    @project_demand
    def project_in_merged(project_id):
        return project_id

    @within.get("/in")
    @demand
    def in_mounted():
        return who()

    @within.get("/<project_id>/in")
    @project_demand
    def project_in_mounted(project_id):
        return project_id

    app.mount("/merged/", merged)
    # As any WSGI app is mounted.
    app.mount("/mounted/", within.wsgi)
    return app


VIEWS = ["/view", "/generator", "/stacked", "/method", "/applied", "/merged/in", "/mounted/in"]
PROJECTS = ["/projects/{}", "/merged/{}/in", "/mounted/{}/in", "/number/{}"]


@pytest.fixture
def wrap(keys):
    """Return what puts the middleware around an app."""
    return lambda app: wsgi_face.KeyAuthMiddleware(app, keys)


@pytest.mark.usefixtures("quiet")
def test_every_form_of_view(ask, wrap, tokens, capsys):
    app = wrap(make())
    for path in (*VIEWS, "/dict"):
        check_problem(ask(app, path), *MISSING)
        check_problem(ask(app, path, "not.ours"), *UNRECOGNIZED)
        check_problem(ask(app, path, generate("phs_")), *INVALID)
        check_problem(ask(app, path, tokens.narrow), *NARROW)
        for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
            answer = ask(app, path, token)
            assert (answer.status, answer.headers["vary"]) == (200, "Authorization")
            assert name in answer.body.decode()
    assert ask(app, "/open").body == b"nobody"
    check_problem(ask(app, "/humans", tokens.machine), *KIND)
    head, whole = ask(app, "/view", method="HEAD"), ask(app, "/view")
    assert (head.status, head.body) == (401, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("quiet")
def test_the_project_in_the_path_is_the_keys(ask, wrap, keys, tokens):
    app = wrap(make())
    limited = keys.issue_personal_key("user-7", "b", ["*"], projects=["2"]).token
    for path in PROJECTS:
        for token in (tokens.machine, limited):
            assert ask(app, path.format("2"), token).body == b"2"
            check_problem(ask(app, path.format("3"), token), *PROJECT)
            check_problem(ask(app, path.format("3") + "?project_id=2", token), *PROJECT)
    for other in ("02", "%EF%BC%92", "2%20", "%32%32", "2%00", "2%0A", "-2"):
        check_problem(ask(app, f"/projects/{other}", tokens.machine), *PROJECT)
    check_problem(ask(app, "/elsewhere/2?project_id=2", tokens.machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
def test_a_plugin_or_a_hook_guards_a_whole_app(ask, wrap, tokens):
    installed, hooked = Bottle(), Bottle()
    installed.install(demand)
    installed.get("/in", callback=who)
    installed.get("/open", callback=who, skip=[demand])
    installed.install(project_demand)
    hooked.hook("before_request")(require_scopes("endpoint:read", kinds=BOTH)(lambda: None))
    hooked.get("/in", callback=who)
    for app in (Bottle(), installed, hooked):
        app.get("/projects/<project_id>", callback=lambda project_id: project_id)
    installed, hooked = wrap(installed), wrap(hooked)
    for app in (installed, hooked):
        check_problem(ask(app, "/projects/2"), *MISSING)
        check_problem(ask(app, "/projects/2", tokens.narrow), *NARROW)
        assert ask(app, "/projects/2", tokens.machine).body == b"2"
    check_problem(ask(installed, "/projects/3", tokens.machine), *PROJECT)
    check_problem(ask(installed, "/in", tokens.machine), *PROJECT)
    assert ask(hooked, "/in", tokens.machine).body == b"machine"


@pytest.mark.usefixtures("quiet")
def test_an_error_handler_restyles_its_status(ask, wrap, tokens):
    app = make()

    @app.error(401)
    def restyle(error):
        assert isinstance(error, HandledRefusal)
        assert isinstance(error, AccessDenied)
        response.content_type = "application/json"
        return json.dumps({"oops": error.body})

    app = wrap(app)
    for path in ("/view", "/dict", "/generator", "/merged/in"):
        answer = ask(app, path)
        assert (answer.status, json.loads(answer.body)) == (401, {"oops": MISSING[2]})
        assert answer.headers["www-authenticate"] == 'Bearer realm="keymw"'
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["vary"] == "Authorization"
        assert answer.headers["content-type"] == "application/json"
        assert int(answer.headers["content-length"]) == len(answer.body)
        check_problem(ask(app, path, tokens.narrow), *NARROW)
    # A WSGI app that is mounted answers for itself.
    check_problem(ask(app, "/mounted/in"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_an_apps_own_error_page_is_for_refusals_too(ask, wrap, tokens):
    class Own(Bottle):
        def default_error_handler(self, res):
            return f"{res.status_code}: {res.body}"

    app = Own()
    app.get("/view", callback=demand(who))
    app = wrap(app)
    assert ask(app, "/view").body.decode() == f"401: {MISSING[2]}"
    assert ask(app, "/view", tokens.narrow).body.decode() == f"403: {NARROW[2]}"


@pytest.mark.usefixtures("quiet")
def test_a_view_may_catch_the_refusal_of_another(ask, wrap, tokens):
    app = Bottle()

    @app.get("/")
    def either():
        try:
            return require_scopes("endpoint:read")(who)()
        except Refusal as refusal:
            return f"for people: {refusal.denied.detail}"

    assert ask(wrap(app), "/", tokens.machine).body.decode() == f"for people: {KIND[2]}"


@pytest.mark.usefixtures("quiet")
def test_what_the_app_adds_to_answers_is_kept(ask, wrap):
    app = make()
    app.hook("after_request")(lambda: response.set_header("X-Mark", "1"))
    answer = ask(wrap(app), "/view")
    check_problem(answer, *MISSING)
    assert answer.headers["x-mark"] == "1"


@pytest.mark.usefixtures("quiet")
def test_the_apps_own_errors_are_untouched(ask, wrap, tokens):
    app = Bottle()

    @app.get("/")
    @demand
    def view():
        raise HTTPResponse({"mine": True}, 403)

    answer = ask(wrap(app), "/", tokens.machine)
    assert (answer.status, json.loads(answer.body)) == (403, {"mine": True})
    assert "www-authenticate" not in answer.headers


@pytest.mark.usefixtures("quiet")
def test_a_middleware_between_may_copy_the_environ(ask, wrap, tokens):
    inner = make()
    app = wrap(lambda environ, start_response: inner(dict(environ), start_response))
    for path in (*VIEWS, "/projects/2", "/merged/2/in", "/mounted/2/in"):
        check_problem(ask(app, path), *MISSING)
        assert ask(app, path, tokens.machine).status == 200
    check_problem(ask(app, "/projects/3", tokens.machine), *PROJECT)


@pytest.mark.parametrize("path", [*VIEWS, "/projects/2"])
def test_no_middleware_is_500_and_one_clear_line(tokens, path, caplog):
    environ = {"PATH_INFO": path, "HTTP_AUTHORIZATION": f"Bearer {tokens.machine}"}
    setup_testing_defaults(environ)
    environ["wsgi.errors"] = io.StringIO()
    assert call(make(), environ)[0] == "500 Internal Server Error"
    (entry,) = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert "KeyAuthMiddleware" in entry.getMessage()
    assert tokens.machine not in environ["wsgi.errors"].getvalue() + caplog.text


def call(app, environ):
    """Return status and body, as a server that knows of no exception gets them."""
    started = []
    body = app(environ, lambda status, headers, *rest: started.append(status))
    return started[-1], b"".join(body)


@pytest.mark.parametrize("inner_is_wrapped", [False, True])
def test_an_outer_requests_key_opens_no_inner_app(ask, wrap, keys, tokens, inner_is_wrapped):
    inner = wrap(make()) if inner_is_wrapped else Bare(make())
    outer = Bottle()

    @outer.get("/<project_id>/<path:path>")
    def view(project_id, path):
        try:
            return str(ask(inner, f"/{path}", errors_stream=io.StringIO()).status)
        except MiddlewareMissing:
            return "500"

    app = wrap(outer)
    status = b"401" if inner_is_wrapped else b"500"
    for path in (*VIEWS, "/projects/2"):
        assert ask(app, f"/2{path}", tokens.machine).body == status


def test_a_view_goes_on_as_itself_after_another_app(ask, wrap, keys, tokens):
    """Bottle itself takes the other's request for its own from then on."""
    other = keys.issue_project_key("3", "other", ["endpoint:read"]).token
    inner, outer = wrap(make()), Bottle()

    @outer.get("/<project_id>")
    def view(project_id):
        assert ask(inner, "/projects/3", other).body == b"3"
        assert request.url_args == {"project_id": "3"}
        return project_demand(who)()

    app = wrap(outer)
    assert ask(app, "/2", tokens.machine).body == b"machine"
    check_problem(ask(app, "/3", tokens.machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
def test_an_old_request_of_the_thread_is_nobodys(ask, wrap, tokens):
    """Bottle's request stays in the thread, where something else is served next."""
    opened = []

    @project_demand
    def helper():
        opened.append(who())

    @wrap
    def plain(environ, start_response):
        environ["wsgiorg.routing_args"] = ((), {"project_id": environ["PATH_INFO"][1:]})
        helper()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [who().encode()]

    bottle = make()
    for app in (wrap(bottle), Bare(bottle)):
        assert ask(app, "/open", tokens.machine).status == 200
        assert "bottle.app" in request.environ
        assert ask(plain, "/2", tokens.machine).body == b"machine"
        check_problem(ask(plain, "/3", tokens.machine), *PROJECT)
        check_problem(ask(plain, "/2"), *MISSING)
    flask = Flask(__name__)
    flask.get("/<project_id>")(project_demand(lambda project_id: project_id))
    assert ask(wrap(bottle), "/projects/2", tokens.machine).body == b"2"
    check_problem(ask(wrap(flask), "/3", tokens.machine), *PROJECT)
    check_problem(ask(wrap(flask), "/2"), *MISSING)
    assert opened == ["machine", "machine"]


@pytest.mark.usefixtures("quiet")
def test_another_threads_request_is_the_one_that_started_it(ask, wrap, tokens):
    app = Bottle()

    @app.get("/projects/<project_id>")
    @demand
    def view(project_id):
        seen = []

        def work():
            try:
                seen.append(project_demand(who)())
            except Refusal as refusal:
                seen.append(refusal.denied.reason.value)

        thread = Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join()
        return seen

    app = wrap(app)
    assert ask(app, "/projects/2", tokens.machine).body == b"machine"
    assert ask(app, "/projects/3", tokens.machine).body == b"wrong_project"
    assert who() == "nobody"


def test_a_thread_that_was_given_no_context_has_no_request(ask, wrap, tokens):
    app = Bottle()

    @app.get("/")
    def view():
        seen = []

        def work():
            with pytest.raises(MiddlewareMissing):
                demand(who)()
            seen.append("refused")

        thread = Thread(target=work)
        thread.start()
        thread.join()
        return seen

    assert ask(wrap(app), "/", tokens.machine).body == b"refused"


def test_what_a_client_sends_is_no_request(ask, wrap, tokens):
    environ = {"HTTP_BOTTLE_APP": "x", "QUERY_STRING": "bottle.app=x&route.url_args=2"}
    setup_testing_defaults(environ)
    environ |= {"PATH_INFO": "/elsewhere/2", "HTTP_AUTHORIZATION": f"Bearer {tokens.machine}"}
    status, body = call(wrap(make()), environ)
    assert (status, json.loads(body)["code"]) == ("403 Forbidden", "wrong_project")
