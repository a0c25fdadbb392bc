"""REST framework's views and viewsets: under WSGI and under ASGI."""

from __future__ import annotations

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from decorators.asking import INVALID, KIND, MISSING, NARROW, PROJECT, check_problem
from integrations import rest_framework_mistakes as mistakes
from integrations import rest_framework_project as project
from keymw.errors import UnmeetableDemand
from keymw.integrations.django import apps
from keymw.routes import list_routes
from keymw.tokens import generate


@pytest.fixture
def app(django_app):
    django_app.serve(ROOT_URLCONF=project.__name__)
    return django_app


@pytest.mark.usefixtures("quiet")
async def test_every_form_of_view(app, tokens):
    for path in (*project.VIEWS, *project.SETS, "projects/2/declared", "projects/2/decorated"):
        check_problem(await app(path), *MISSING)
        check_problem(await app(path, generate("phs_")), *INVALID)
        check_problem(await app(path, tokens.narrow), *NARROW)
        for token, name in ((tokens.machine, b'"machine"'), (tokens.person, b'"user-7"')):
            answer = await app(path, token)
            assert (answer.status, answer.body) == (200, name), path
        if path != "below":  # of a function, REST framework answers HEAD where that is said
            head = await app(path, method="HEAD")
            assert (head.status, head.body) == (401, b"")


@pytest.mark.usefixtures("quiet")
async def test_the_project_in_the_path_is_the_keys(app, keys, tokens):
    limited = keys.issue_personal_key("user-7", "l", ["endpoint:read"], projects=["2"]).token
    for path in ("projects/{}/declared", "projects/{}/decorated"):
        for token in (tokens.machine, limited):
            assert (await app(path.format("2"), token)).status == 200
            for other in ("3", "02", "%EF%BC%92", "2%20", "%32%32", "2%00", "-2"):
                check_problem(await app(path.format(other), token), *PROJECT)
    assert (await app("number/2", tokens.machine)).status == 200
    check_problem(await app("number/3", tokens.machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
async def test_kinds_methods_and_actions(app, keys, tokens):
    check_problem(await app("humans", tokens.machine), *KIND)
    assert (await app("humans", tokens.person)).status == 200
    answer = await app("by-method", tokens.person, method="POST")
    assert answer.problem["detail"] == "API key missing required scope 'endpoint:write'."
    answer = await app("set/other", tokens.machine)
    assert answer.problem["detail"] == "API key missing required scope 'flag:write'."
    assert (await app("set/other", tokens.narrow)).body == b'"narrow"'


async def test_a_permission_among_others(app, tokens):
    assert (await app("either", tokens.machine)).status == 200
    assert (await app("either", tokens.narrow)).status == 403
    refused = await app("either")
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="keymw"'
    assert (await app("any", tokens.machine)).status == 200
    assert (await app("any")).status == 401
    assert (await app("open")).body == b'""'


@pytest.mark.usefixtures("quiet")
async def test_no_method_is_an_error(app, tokens):
    """Not one either that is the name of something that a view has."""
    for method in ("DELETE", "TRACE", "DISPATCH", "REQUEST", "ARGS", "__CLASS__", "PURGE"):
        for token in (None, tokens.machine):
            assert (await app("by-method", token, method=method)).status == 405, method


async def test_what_is_declared_wrongly_lets_nobody_in(django_app, tokens):
    django_app.serve(ROOT_URLCONF=mistakes.__name__)
    for path in (*mistakes.VIEWS, "actions/extra"):
        for token in (None, tokens.machine, tokens.person):
            assert (await django_app(path, token)).status == 500, path


@override_settings(ROOT_URLCONF=mistakes.__name__)
def test_what_is_declared_wrongly_is_found_before_any_request():
    found = {error.obj.__name__: error.msg for error in apps.check_views()}
    assert found.keys() == {*mistakes.VIEWS, "Actions"}
    for name, message in found.items():
        assert message.startswith(name)
    assert "does not say what it demands of GET" in found["a_function"]
    with pytest.raises(UnmeetableDemand) as caught:
        list_routes(WSGIHandler())
    assert caught.value.problems == list(found.values())
