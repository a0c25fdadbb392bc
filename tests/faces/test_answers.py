"""Who is refused, with what answer, and who is let through."""

from __future__ import annotations

import logging

import pytest

from faces.app import VIEWS, Seen
from faces.cases import CASES, check_refusal
from faces.credentials import bearer, credentials, issue
from faces.driving import AsgiHttp, Wsgi
from keymw import AnonymousPrincipal, ServicePrincipal, UserPrincipal
from keymw import wsgi as wsgi_face


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state}-{case.path[1:]}")
def test_the_table(face, keys, sqlite_url, case, caplog):
    headers = credentials(keys, sqlite_url, case.state)
    for _ in range(2):  # cold, then with what the caches have learnt
        seen = Seen()
        reply = face.ask(headers, case.path, seen=seen)
        check_refusal(face, reply, case)
        assert seen.called == (1 if case.reaches else 0)
        assert seen.viewed == 0
    assert [entry for entry in caplog.records if entry.levelno >= logging.ERROR] == []
    for _, value in headers:
        secret = value.partition(b" ")[2].decode()
        if secret:
            assert secret not in str(reply)
            assert secret not in caplog.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state}-{case.path[1:]}")
def test_a_refusal_of_head_has_no_body(request, keys, sqlite_url, case, runner):
    headers = credentials(keys, sqlite_url, case.state)
    for kind in (AsgiHttp, Wsgi):
        face = kind(sqlite_url, runner)
        seen = Seen()
        reply = face.ask(headers, case.path, method="HEAD", seen=seen)
        check_refusal(face, reply, case, method="HEAD")
        whole = face.ask(headers, case.path, method="GET")
        assert reply.one("content-length") == str(len(whole.body))
        assert seen.viewed == 0
        face.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_demand_holds_for_every_method(request, kind, method):
    face, seen = request.getfixturevalue(kind), Seen()
    assert face.ask([], "/both", method=method, seen=seen).status == 401
    assert seen.viewed == 0


GRANTS = [
    ("project", "/open"),
    ("personal", "/open"),
    ("personal", "/humans"),
    ("star", "/humans"),
    ("star", "/writers"),
    ("project", "/machines"),
    ("write", "/machines"),
    ("write", "/writers"),
    ("project", "/both"),
    ("empty", "/open"),
]


@pytest.mark.parametrize(("state", "path"), GRANTS)
def test_a_good_key_is_let_through(face, keys, sqlite_url, state, path):
    headers = bearer(issue(keys, sqlite_url, state))
    for _ in range(2):
        seen = Seen()
        reply = face.ask(headers, path, seen=seen)
        assert (reply.status, reply.body) == (200, path[1:].encode())
        assert seen.viewed == 1
        kind = UserPrincipal if state in ("personal", "star", "empty") else ServicePrincipal
        assert type(seen.principal) is kind
        if face.name == "wsgi":
            assert seen.connection["keymw.principal"] is seen.principal
            assert seen.connection["keymw.scopes"] == seen.principal.scopes
        else:
            assert seen.connection["user"] is seen.principal
            assert list(seen.connection["auth"].scopes) == sorted(seen.principal.scopes)


@pytest.mark.parametrize(
    "given", ["02", "\uff12", " 2", "2 ", "2\x00", "+2", "2.0", "", "1", "22", None]
)
def test_another_project_is_refused(face, keys, given):
    headers = bearer(keys.issue_project_key("2", "a", ["other:read"]).token)
    seen = Seen()
    reply = face.ask_project(headers, seen, {"project_id": given})
    assert reply.close == 1008 or reply.status == 403
    assert seen.called == 1
    assert seen.viewed == 0


def test_the_keys_own_project_is_let_through(face, keys):
    for headers in (
        bearer(keys.issue_project_key("2", "a", ["other:read"]).token),
        bearer(keys.issue_personal_key("ann", "a", ["other:read"]).token),
        bearer(keys.issue_personal_key("ann", "b", ["other:read"], projects=["2", "3"]).token),
    ):
        seen = Seen()
        assert face.ask_project(headers, seen, {"project_id": "2"}).status == 200
        assert seen.viewed == 1


def test_a_refusal_is_answered_even_where_nobody_catches_the_frameworks_exception(wsgi, keys):
    """A plain app that reads requests by Werkzeug does not become a Flask by it."""
    from werkzeug.wrappers import Request

    def app(environ, start_response):
        body = VIEWS[Request(environ).path]().encode()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    headers = bearer(keys.issue_project_key("2", "a", ["other:read"]).token)
    for given, status in ((headers, 403), ([], 401)):
        face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
        assert wsgi.send(face, wsgi.environ(given, "/both", "GET")).status == status


def test_a_foreign_token_stays_anonymous_on_open_routes(face, keys, sqlite_url):
    for state in ("foreign", "basic", "digest", "none"):
        seen = Seen()
        headers = credentials(keys, sqlite_url, state)
        assert face.ask(headers, "/open", seen=seen).status == 200
        assert seen.principal == AnonymousPrincipal()
        assert seen.principal.is_authenticated is False
        if face.name == "wsgi":
            assert seen.connection["keymw.principal"] == AnonymousPrincipal()
            assert seen.connection["keymw.scopes"] == frozenset()
            if headers:
                assert seen.connection["HTTP_AUTHORIZATION"] == headers[0][1].decode()
        else:
            assert seen.connection["user"] == AnonymousPrincipal()
            assert list(seen.connection["auth"].scopes) == []
            assert seen.connection["headers"] == headers
