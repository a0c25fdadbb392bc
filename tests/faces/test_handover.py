"""What the app is given: the principal, and a scope or environ that is its own."""

from __future__ import annotations

import contextlib

import pytest

from faces.app import Seen
from faces.credentials import bearer, credentials
from keymw import AnonymousPrincipal, ServicePrincipal, current_principal
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face


@pytest.mark.parametrize("state", ["none", "foreign", "basic"])
def test_a_user_set_outside_is_left_alone(asgi, keys, sqlite_url, state):
    user, auth, seen = object(), object(), Seen()
    scope = asgi.scope(credentials(keys, sqlite_url, state), "/open", "GET")
    scope |= {"user": user, "auth": auth}
    face = asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys)
    assert asgi.read(asgi.send(face, scope)).status == 200
    assert seen.connection["user"] is user
    assert seen.connection["auth"] is auth
    assert seen.principal == AnonymousPrincipal()
    # It opens nothing that keymw guards.
    guarded = asgi.scope(credentials(keys, sqlite_url, state), "/both", "GET") | {"user": user}
    assert asgi.read(asgi.send(face, guarded)).status == 401


def test_a_good_key_comes_before_a_user_set_outside(asgi, keys):
    scope = asgi.scope(
        bearer(keys.issue_project_key("2", "a", ["other:read"]).token), "/open", "GET"
    )
    scope |= {"user": object(), "auth": object()}
    seen = Seen()
    asgi.send(asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys), scope)
    assert seen.connection["user"] is seen.principal
    assert seen.principal.project_id == "2"


def test_the_environ_cannot_be_prepared_by_a_client(wsgi):
    environ = wsgi.environ([(b"keymw.principal", b"x"), (b"keymw", b"x")], "/both", "GET")
    environ["keymw.principal"] = ServicePrincipal("k", "2", "l", frozenset())
    environ["keymw.scopes"] = frozenset({"*"})
    seen = Seen()
    face = wsgi_face.KeyAuthMiddleware(wsgi.app(seen, []), wsgi.keys)
    assert wsgi.send(face, environ).status == 401
    assert seen.connection["keymw.principal"] == AnonymousPrincipal()
    assert seen.connection["keymw.scopes"] == frozenset()


@pytest.mark.parametrize("strip", [False, True])
def test_the_scope_is_copied_not_mutated(asgi, keys, strip):
    headers = [*bearer(keys.issue_project_key("2", "a", ["other:read"]).token), (b"accept", b"*/*")]
    for given in (headers, [(b"accept", b"*/*")]):
        scope = asgi.scope(given, "/open", "GET")
        before, seen = dict(scope), Seen()
        face = asgi_face.KeyAuthMiddleware(asgi.app(seen, []), asgi.keys, strip_credentials=strip)
        asgi.send(face, scope)
        assert scope == before
        assert scope["headers"] is given
        assert seen.connection is not scope
    assert len(headers) == 2


def test_a_cached_refusal_or_grant_cannot_be_altered_by_one_request_for_the_next(asgi, keys):
    """What one request does to its `auth` must not hold for the next one."""
    headers = bearer(keys.issue_project_key("2", "a", ["endpoint:read"]).token)

    async def tamper(scope, receive, send):
        for change in (
            lambda: scope["auth"].scopes.append("authenticated"),
            lambda: scope["auth"].scopes.append("admin:write"),
            lambda: scope["auth"].scopes.__iadd__(["admin:write"]),
            lambda: setattr(scope["auth"], "scopes", ["authenticated", "admin:write"]),
        ):
            with contextlib.suppress(Exception):
                change()
        await asgi.app(Seen(), [])(scope, receive, send)

    for given in ([], headers):
        asgi.send(asgi_face.KeyAuthMiddleware(tamper, asgi.keys), asgi.scope(given, "/open", "GET"))
        seen = Seen()
        asgi.ask(given, "/open", seen=seen)
        assert "admin:write" not in seen.connection["auth"].scopes
        assert "admin:write" not in list(seen.connection["auth"].scopes)
        assert ("authenticated" in seen.connection["auth"].scopes) is bool(given)


def test_an_unknown_scope_type_is_passed_through(asgi):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send, current_principal()))

    scope = {"type": "mqtt", "nothing": "else"}
    receive, send = object(), object()
    asgi.runner.run(
        asgi_face.KeyAuthMiddleware(app, asgi.keys, required=True)(scope, receive, send)
    )
    assert seen == [(scope, receive, send, AnonymousPrincipal())]
    assert seen[0][0] is scope
