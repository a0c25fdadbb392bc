"""Django's views, and what becomes of refusals there: under WSGI and under ASGI."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from decorators.asking import (
    INVALID,
    KIND,
    MISSING,
    NARROW,
    PROJECT,
    UNRECOGNIZED,
    check_problem,
)
from decorators.guards import who
from integrations import django_project
from keymw import AsyncKeyService, asgi, wsgi
from keymw.errors import StoreUnavailable
from keymw.store.sql import SqlStore
from keymw.tokens import generate


@pytest.fixture
async def service(sqlite_url):
    async with AsyncKeyService(sqlite_url) as service:
        yield service


@pytest.mark.usefixtures("quiet")
async def test_every_form_of_view(django_app, tokens):
    for path in django_project.VIEWS:
        check_problem(await django_app(path), *MISSING)
        check_problem(await django_app(path, "not.ours"), *UNRECOGNIZED)
        check_problem(await django_app(path, generate("phs_")), *INVALID)
        refused = await django_app(path, tokens.narrow)
        check_problem(refused, *NARROW)
        assert refused.headers["x-mark"] == "1"
        for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
            answer = await django_app(path, token)
            assert (answer.status, answer.body.decode().split("\n")[0]) == (200, name), path
            assert answer.headers["vary"] == "Authorization"
            assert answer.headers["x-mark"] == "1"


@pytest.mark.usefixtures("quiet")
async def test_the_project_in_the_path_is_the_keys(django_app, keys, tokens):
    limited = keys.issue_personal_key("user-7", "limited", ["*"], projects=["2"]).token
    for path in ("projects/{}/x", "included/{}/x"):
        for token in (tokens.machine, limited):
            assert (await django_app(path.format("2"), token)).status == 200
            for other in ("3", "02", "%EF%BC%92", "2%20", "%32%32", "2%00", "-2"):
                check_problem(await django_app(path.format(other), token), *PROJECT)
        check_problem(
            await django_app(path.format("3") + "?project_id=2", tokens.machine), *PROJECT
        )
    check_problem(await django_app("elsewhere?project_id=2", tokens.machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
async def test_a_converted_project_is_compared_as_the_view_gets_it(django_app, tokens):
    assert (await django_app("number/2/x", tokens.machine)).body == b"machine in 2"
    assert (await django_app("number/02/x", tokens.machine)).body == b"machine in 2"
    for other in ("3", "22", "20"):
        check_problem(await django_app(f"number/{other}/x", tokens.machine), *PROJECT)


@pytest.mark.usefixtures("quiet")
async def test_kinds_and_head(django_app, tokens):
    check_problem(await django_app("humans", tokens.machine), *KIND)
    assert (await django_app("humans", tokens.person)).status == 200
    for path, token, status in (
        ("humans", None, 401),
        ("humans", tokens.machine, 403),
        ("humans", generate("pha_"), 401),
        ("methods", None, 401),
    ):
        head, whole = await django_app(path, token, method="HEAD"), await django_app(path, token)
        assert (head.status, head.body) == (status, b"")
        assert head.headers["content-length"] == whole.headers["content-length"]
    head = await django_app("methods", tokens.person, method="HEAD")
    assert head.status == 200


@pytest.mark.usefixtures("quiet")
async def test_an_open_route_stays_open(django_app, tokens):
    for token, name in ((None, b"nobody"), ("not.ours", b"nobody"), (tokens.machine, b"machine")):
        answer = await django_app("open", token)
        assert (answer.status, answer.body) == (200, name)
        assert answer.headers["vary"] == "Authorization"
    check_problem(await django_app("open", generate("pha_")), *INVALID)
    assert (await django_app("open", "a b")).status == 400
    assert (await django_app("varies", tokens.machine)).headers[
        "vary"
    ] == "Accept, Cookie, Authorization"


async def test_an_outage_is_no_error_of_the_apps(django_app, tokens, monkeypatch, caplog):
    async def find(self, digest):
        raise StoreUnavailable("The database cannot answer: it is on fire.")

    monkeypatch.setattr(SqlStore, "find", find)
    for path in ("open", "humans", "humans"):
        answer = await django_app(path, tokens.machine)
        assert answer.status == 503
        assert answer.problem["code"] == "temporarily_unavailable"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["cache-control"] == "no-store"
    own = [entry for entry in caplog.records if entry.name.startswith("django")]
    assert [entry.getMessage() for entry in own] == []


@pytest.mark.usefixtures("quiet")
async def test_streams_are_within_the_request_until_they_end(django_app, tokens):
    django_project.ended.clear()
    for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
        answer = await django_app("stream", token)
        assert answer.body.decode() == f"{name}\n" * 3
    assert django_project.ended == ["machine", "user-7"]
    if django_app.interface == "wsgi":  # Django warns of files under ASGI
        assert (await django_app("file", tokens.machine)).body == b"machine"
    assert (await django_app("thread", tokens.machine)).body == b"machine"
    assert (await django_app("open")).body == b"nobody"


@pytest.mark.usefixtures("quiet")
async def test_a_view_may_catch_the_refusal_of_another(django_app, tokens):
    answer = await django_app("either", tokens.machine)
    assert answer.body == b"no: This endpoint does not support project secret API keys."
    assert (await django_app("either", tokens.person)).body == b"user-7"


async def test_a_middleware_may_restyle_refusals(django_app, tokens):
    django_app.serve(within=["Restyles"])
    for path, token, reason in (
        ("sync", None, "not_authenticated"),
        ("async", tokens.narrow, "scope_missing"),
    ):
        answer = await django_app(path, token)
        assert (answer.status, answer.body.decode()) == (418, f"restyled: {reason}")
        assert "Authorization" in answer.headers["vary"]


async def test_the_root_urlconf_may_handle_refusals(django_app, tokens):
    """By `handler403`, unless Django's middleware answers first."""
    django_app.serve(ROOT_URLCONF="integrations.django_handlers")
    answer = await django_app("humans", tokens.machine)
    if django_app.how == "listed":
        check_problem(answer, *KIND)
    else:
        assert (answer.status, answer.body) == (403, b"handled: kind_not_supported")
    assert (await django_app("denied")).body == b"handled"


async def test_what_the_app_denies_itself_is_its_own(django_app, tokens):
    answer = await django_app("denied", tokens.machine)
    assert answer.status == 403
    assert b"403 Forbidden" in answer.body
    assert "www-authenticate" not in answer.headers
    assert answer.headers["vary"] == "Authorization"


async def test_no_middleware_is_500_and_one_clear_line(django_app, tokens, caplog):
    inner = django_app.bare()
    for path in django_project.VIEWS:
        caplog.clear()
        assert (await django_app(path, tokens.machine, app=inner)).status == 500, path
        (entry,) = [entry for entry in caplog.records if entry.name == "keymw"]
        assert "KeyAuthMiddleware" in entry.getMessage()
        assert tokens.machine not in caplog.text
    assert (await django_app("open", tokens.machine, app=inner)).body == b"nobody"


async def test_an_outer_requests_key_opens_no_unwrapped_app(keys, service, tokens, django_app):
    """What a guarded request calls itself is a request of its own."""
    inner = django_app.bare()
    paths = ("sync", "async", "methods", "whole", "dispatch", "projects/2/x")
    statuses = []

    async def ask_inner():
        for path in paths:
            assert who() == "machine"
            statuses.append((await django_app(path, tokens.machine, app=inner)).status)

    def outer_wsgi(environ, start_response):
        asyncio.run(ask_inner())
        start_response("200 OK", [])
        return []

    async def outer_asgi(scope, receive, send):
        await ask_inner()
        await PlainTextResponse("")(scope, receive, send)

    if django_app.interface == "wsgi":
        outer = wsgi.KeyAuthMiddleware(outer_wsgi, keys)
    else:
        outer = asgi.KeyAuthMiddleware(outer_asgi, service)
    assert (await django_app("", tokens.machine, app=outer)).status == 200
    assert statuses == [500] * len(paths)
