"""Flask: blueprints that are guarded whole, and `g`; and that the docs of all four hold."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from flask import Blueprint, Flask, Response, g, render_template_string, stream_with_context

from decorators.asking import KIND, MISSING, NARROW, PROJECT, check_problem, connect
from keymw import current_principal, require_scopes
from keymw import wsgi as wsgi_face
from keymw.integrations import flask as ours
from keymw.integrations import quart as quarts

PAGE = Path(__file__).parents[2] / "docs" / "wsgi-frameworks.md"
BOTH = ["project_secret", "personal"]
demand = require_scopes("endpoint:read", kinds=BOTH)
project_demand = require_scopes("endpoint:read", kinds=BOTH, project="project_id")


def who():
    return current_principal().display_name or "nobody"


def of_g():
    assert g.principal is current_principal()
    return g.principal.display_name or "nobody"


@pytest.fixture
def wrap(keys):
    def wrap(app):
        app.wsgi_app = wsgi_face.KeyAuthMiddleware(app.wsgi_app, keys)
        return app

    return wrap


def make(before):
    app = Flask(__name__)
    part = Blueprint("part", __name__, url_prefix="/part/<project_id>")
    nested = Blueprint("nested", __name__, url_prefix="/nested")
    part.before_request(before)
    for rules in (part, nested):
        rules.add_url_rule("/", "view", lambda project_id: project_id)
    part.register_blueprint(nested)
    app.register_blueprint(part)
    app.add_url_rule("/open", "open", who)
    return app


@demand
async def asynchronous():
    pass


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("before", [demand(lambda: None), asynchronous], ids=["sync", "async"])
def test_a_blueprint_is_guarded_whole(ask, wrap, tokens, before):
    app = wrap(make(before))
    for path in ("/part/2/", "/part/2/nested/"):
        check_problem(ask(app, path), *MISSING)
        check_problem(ask(app, path, tokens.narrow), *NARROW)
        assert ask(app, path, tokens.machine).body == b"2"
    assert ask(app, "/open").body == b"nobody"
    assert ask(app, "/part/2/other").status == 404


@pytest.mark.usefixtures("quiet")
def test_a_blueprint_is_guarded_for_its_project(ask, wrap, tokens):
    app = wrap(make(project_demand(lambda: None)))
    for path in ("/part/{}/", "/part/{}/nested/"):
        assert ask(app, path.format("2"), tokens.machine).body == b"2"
        for other in ("3", "02", "%EF%BC%92"):
            check_problem(ask(app, path.format(other), tokens.machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
def test_an_app_is_guarded_whole(ask, wrap, tokens):
    app = make(lambda: None)
    app.before_request(require_scopes("endpoint:read")(lambda: None))
    app = wrap(app)
    for path in ("/open", "/part/2/", "/nowhere"):
        check_problem(ask(app, path), *MISSING)
        check_problem(ask(app, path, tokens.machine), *KIND)
    assert ask(app, "/open", tokens.person).body == b"user-7"


def test_a_guarded_blueprint_without_middleware_is_not_open(ask, tokens, caplog):
    assert ask(make(demand(lambda: None)), "/part/2/", tokens.machine).status == 500
    assert [entry for entry in caplog.messages if "KeyAuthMiddleware" in entry]


@pytest.mark.usefixtures("quiet")
def test_g_has_the_principal(ask, wrap, tokens):
    app = make(lambda: None)
    ours.init_app(app)
    seen = []
    app.before_request(lambda: seen.append(of_g()))

    @app.get("/stream")
    def stream():
        return Response(stream_with_context(of_g() for _ in range(2)))

    @app.get("/template")
    def template():
        return render_template_string("{{ g.principal.display_name }}")

    app.add_url_rule("/g", "g", of_g)
    app = wrap(app)
    assert ask(app, "/stream", tokens.machine).body == b"machinemachine"
    assert ask(app, "/template", tokens.person).body == b"user-7"
    assert ask(app, "/g").body == b"nobody"
    assert seen == ["machine", "user-7", "nobody"]
    with app.app_context():
        assert g.principal.display_name == ""


@pytest.mark.usefixtures("quiet")
def test_g_is_shared_with_an_inner_request_and_its_principal_is_not(ask, wrap, tokens):
    """Flask gives a request of the same app, made within another, the outer one's `g`."""
    app = Flask(__name__)
    ours.init_app(app)

    @app.get("/outer")
    def outer():
        g.mark = "outer"
        assert ask(app, "/inner", tokens.person).body == b"user-7 outer"
        return of_g()

    app.add_url_rule("/inner", "inner", lambda: f"{of_g()} {g.mark}")
    assert ask(wrap(app), "/outer", tokens.machine).body == b"machine"


def test_quart_shares_what_flask_raises():
    assert quarts.UnauthorizedRefusal is ours.UnauthorizedRefusal
    assert quarts.ForbiddenRefusal is ours.ForbiddenRefusal
    assert quarts.init_app is ours.init_app


def blocks():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture
def documented(monkeypatch, from_env, tmp_path):
    """The apps of `docs/wsgi-frameworks.md`, each in a file of its own, as Pyramid wants it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    apps = {}
    for name, block in zip(("flask", "quart", "bottle", "pyramid"), blocks(), strict=True):
        (tmp_path / f"documented_{name}.py").write_text(block)
        apps[name] = importlib.import_module(f"documented_{name}").app
    yield apps
    for name in apps:
        del sys.modules[f"documented_{name}"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["flask", "quart", "bottle", "pyramid"])
def test_the_documented_apps(ask, keys, documented, name):
    machine = keys.issue_project_key("2", "machine", ["report:read"]).token
    person = keys.issue_personal_key("user-7", "laptop", ["report:write"]).token
    app, path = documented[name], "/projects/2/reports"
    assert ask(app, path).problem["code"] == "not_authenticated"
    assert ask(app, path.replace("2", "3"), machine).problem["code"] == "wrong_project"
    answer = ask(app, path, machine)
    assert (answer.status, b"machine" in answer.body, b"2" in answer.body) == (200, True, True)
    if name in ("flask", "pyramid"):
        refused = ask(app, path, machine, method="POST")
        assert refused.problem["code"] == "kind_not_supported"
        assert ask(app, path, person, method="POST").status in (200, 201)
    if name == "quart":
        assert connect(app, "/projects/2/feed", machine) == "machine"
