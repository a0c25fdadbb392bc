"""The middleware's options, and what it refuses when it is made."""

from __future__ import annotations

import string

import pytest

from faces.app import Seen
from faces.cases import ANONYMOUS_DETAIL, CASES, INVALID, Case, check_refusal
from faces.credentials import bearer, credentials, issue
from keymw import AsyncKeyService, KeyService
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face


def test_credentials_are_stripped_on_demand(face, keys, sqlite_url):
    token = issue(keys, sqlite_url, "project")
    for name in (b"authorization", b"AUTHORIZATION"):
        for strip in (False, True):
            seen = Seen()
            headers = [(b"host", b"x"), (name, f"Bearer {token}".encode()), (b"accept", b"a/b")]
            reply = face.ask(headers, "/both", seen=seen, strip_credentials=strip)
            assert reply.status == 200
            if face.name == "wsgi":
                assert ("HTTP_AUTHORIZATION" in seen.connection) is not strip
                assert seen.connection["HTTP_ACCEPT"] == "a/b"
            else:
                wanted = [headers[0], headers[2]] if strip else headers
                assert list(seen.connection["headers"]) == wanted


def test_somebody_elses_credentials_are_not_stripped(face, keys, sqlite_url):
    for state in ("foreign", "basic"):
        seen = Seen()
        headers = credentials(keys, sqlite_url, state)
        face.ask(headers, "/open", seen=seen, strip_credentials=True)
        if face.name == "wsgi":
            assert seen.connection["HTTP_AUTHORIZATION"] == headers[0][1].decode()
        else:
            assert list(seen.connection["headers"]) == headers


def test_required_refuses_before_the_app(face, keys, sqlite_url):
    for state, code, error in (
        ("none", "not_authenticated", ""),
        ("basic", "not_authenticated", ""),
        ("foreign", "unrecognized_credentials", INVALID),
    ):
        seen = Seen()
        reply = face.ask(credentials(keys, sqlite_url, state), "/open", seen=seen, required=True)
        detail = "The API key is invalid." if error else ANONYMOUS_DETAIL
        check_refusal(face, reply, Case(state, "/open", 401, code, detail, error))
        assert seen.called == 0
    token = issue(keys, sqlite_url, "project")
    assert face.ask(bearer(token), "/open", required=True).status == 200


def test_the_realm_is_named_in_challenges(face, keys, sqlite_url):
    for case in CASES[:8]:
        headers = credentials(keys, sqlite_url, case.state)
        reply = face.ask(headers, case.path, realm="My API, v2")
        check_refusal(face, reply, case, realm="My API, v2")
        keys.activate_user("ann")
        for key in keys.list(project_id="2"):
            keys.revoke(key.id)


BOTH = [(asgi_face.KeyAuthMiddleware, AsyncKeyService), (wsgi_face.KeyAuthMiddleware, KeyService)]


@pytest.mark.parametrize(("middleware", "service"), BOTH)
@pytest.mark.parametrize("realm", ['a"b', "a\\b", "a\r\nb", "a\x00", "\u00e9", "\u2028", "a\tb"])
def test_a_realm_that_cannot_stand_in_a_header_is_refused(middleware, service, realm):
    with pytest.raises(ValueError, match="realm"):
        middleware(None, service("sqlite://"), realm=realm)


@pytest.mark.parametrize(("middleware", "service"), BOTH)
@pytest.mark.parametrize("realm", [None, 5, b"bytes"])
def test_a_realm_that_is_no_text_is_refused(middleware, service, realm):
    with pytest.raises((TypeError, ValueError)):
        middleware(None, service("sqlite://"), realm=realm)


@pytest.mark.parametrize("realm", ["", "keymw", "My API", "a=b; c, d 'e'", string.ascii_letters])
def test_a_printable_realm_is_taken(realm):
    for middleware, service in BOTH:
        middleware(None, service("sqlite://"), realm=realm)


def test_the_wrong_service_is_refused_at_once():
    for wrong in (KeyService("sqlite://"), None, object(), "sqlite://", AsyncKeyService):
        if wrong is not AsyncKeyService:
            with pytest.raises(TypeError, match="AsyncKeyService"):
                asgi_face.KeyAuthMiddleware(None, wrong)
        if not isinstance(wrong, KeyService):
            with pytest.raises(TypeError, match="KeyService"):
                wsgi_face.KeyAuthMiddleware(None, wrong)
    with pytest.raises(TypeError, match="KeyService"):
        wsgi_face.KeyAuthMiddleware(None, AsyncKeyService("sqlite://"))
