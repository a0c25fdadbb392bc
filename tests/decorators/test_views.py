"""The same answers in every framework, in every form of view."""

from __future__ import annotations

import pytest

from decorators.apps import IDS, MAKERS, PATHS, PLACES, PROJECT_PATHS
from decorators.asking import (
    INVALID,
    KIND,
    MISSING,
    NARROW,
    PROJECT,
    UNRECOGNIZED,
    check_problem,
)
from decorators.flask_views import flask_app
from keymw import StoreUnavailable
from keymw.store.sql import SqlStore
from keymw.tokens import generate


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("framework", "path"), PATHS, ids=IDS)
def test_every_form_of_view(ask, wrap, machine, person, narrow, framework, path, place):
    app = wrap(MAKERS[framework](), place)
    check_problem(ask(app, path), *MISSING)
    check_problem(ask(app, path, "dTpw", scheme="Basic"), *MISSING)
    check_problem(ask(app, path, "not.ours"), *UNRECOGNIZED)
    check_problem(ask(app, path, generate("phs_")), *INVALID)
    check_problem(ask(app, path, narrow), *NARROW)
    assert ask(app, path, "a b").status == 400
    for token, name in ((machine, "machine"), (person, "ann")):
        answer = ask(app, path, token)
        assert answer.status == 200
        assert name in answer.body.decode()
        assert answer.headers["vary"] == "Authorization"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_a_refusal_of_head_has_no_body(ask, wrap, machine, narrow, framework, place):
    app = wrap(MAKERS[framework](), place)
    paths = ["/humans"] if framework != "fastapi" else []  # FastAPI has no HEAD of its own
    for path in paths:
        for token, status in ((None, 401), (machine, 403), (narrow, 403)):
            answer = ask(app, path, token, method="HEAD")
            assert (answer.status, answer.body) == (status, b"")
            whole = ask(app, path, token)
            assert answer.headers["content-length"] == whole.headers["content-length"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_kinds(ask, wrap, machine, person, framework, place):
    app = wrap(MAKERS[framework](), place)
    check_problem(ask(app, "/humans", machine), *KIND)
    assert ask(app, "/humans", person).status == 200


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_an_open_route_stays_open(ask, wrap, machine, framework, place):
    app = wrap(MAKERS[framework](), place)
    for token, name in ((None, b"nobody"), ("not.ours", b"nobody"), (machine, b"machine")):
        assert name in ask(app, "/open", token).body
    check_problem(ask(app, "/open", generate("pha_")), *INVALID)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("framework", "path"), PROJECT_PATHS)
def test_the_project_in_the_path_is_the_keys(ask, wrap, keys, machine, framework, path, place):
    app = wrap(MAKERS[framework](), place)
    assert ask(app, path.format("2"), machine).status == 200
    limited = keys.issue_personal_key("ann", "b", ["*"], projects=["2"]).token
    assert ask(app, path.format("2"), limited).status == 200
    for other in ("3", "02", "%EF%BC%92", "2%20", "%32%32", "2%00", "-2"):
        if path.startswith("/number") and other not in ("3", "02"):
            continue  # FastAPI's own 422
        for token in (machine, limited):
            check_problem(ask(app, path.format(other), token), *PROJECT)
    check_problem(ask(app, path.format("3") + "?project_id=2", machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_a_route_without_the_project_takes_nobody(ask, wrap, keys, machine, framework, place):
    app = wrap(MAKERS[framework](), place)
    check_problem(ask(app, "/elsewhere?project_id=2", machine), *PROJECT)
    everything = keys.issue_personal_key("ann", "b", ["*"]).token
    check_problem(ask(app, "/elsewhere", everything), *PROJECT)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_converted_project_is_compared_as_the_view_gets_it(ask, wrap, machine, place):
    app = wrap(flask_app(), place)
    assert ask(app, "/number/2/x", machine).body == b"2"
    check_problem(ask(app, "/number/3/x", machine), *PROJECT)
    check_problem(ask(app, "/number/22/x", machine), *PROJECT)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("framework", MAKERS)
def test_an_outage_is_the_same_everywhere(ask, wrap, machine, framework, place, monkeypatch):
    async def find(self, digest):
        raise StoreUnavailable("The database cannot answer: it is on fire.")

    monkeypatch.setattr(SqlStore, "find", find)
    app = wrap(MAKERS[framework](), place)
    for path in ("/open", "/humans"):
        answer = ask(app, path, machine)
        assert answer.status == 503
        assert answer.problem["code"] == "temporarily_unavailable"
        assert answer.headers["retry-after"] == "1"
        assert "www-authenticate" not in answer.headers
