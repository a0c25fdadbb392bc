"""Django's views, its middleware, and what it does with refusals: under WSGI and under ASGI."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from decorators.asking import INVALID, MISSING, NARROW, UNRECOGNIZED, check_problem
from integrations import django_project
from integrations.django_asking import WAYS, Asking
from keymw.tokens import generate


@pytest.fixture
def tokens(keys):
    return SimpleNamespace(
        machine=keys.issue_project_key("2", "machine", ["endpoint:read"]).token,
        person=keys.issue_personal_key("user-7", "laptop", ["endpoint:read"]).token,
        narrow=keys.issue_project_key("2", "narrow", ["flag:write"]).token,
    )


@pytest.fixture(params=WAYS)
async def ask(request, keys, sqlite_url):
    asking = Asking(request.param, keys, sqlite_url)
    asking.serve()
    yield asking
    assert django_project.nobody_is_left()
    await asking.close()


@pytest.fixture
def quiet(caplog):
    """Check that nothing at all was logged, warnings included."""
    yield
    entries = caplog.get_records("call") + caplog.get_records("teardown")
    assert [entry for entry in entries if entry.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("quiet")
async def test_every_form_of_view(ask, tokens):
    for path in django_project.VIEWS:
        check_problem(await ask(path), *MISSING)
        check_problem(await ask(path, "not.ours"), *UNRECOGNIZED)
        check_problem(await ask(path, generate("phs_")), *INVALID)
        refused = await ask(path, tokens.narrow)
        check_problem(refused, *NARROW)
        assert refused.headers["x-mark"] == "1"
        for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
            answer = await ask(path, token)
            assert (answer.status, answer.body.decode().split("\n")[0]) == (200, name), path
            assert answer.headers["vary"] == "Authorization"
            assert answer.headers["x-mark"] == "1"
