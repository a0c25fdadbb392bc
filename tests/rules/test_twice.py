"""A face within another one of the same service: one lookup, and the answer of one."""

from __future__ import annotations

import pytest

from faces.credentials import bearer, credentials, issue
from keymw import AsyncKeyService, KeyService
from keymw.asgi import KeyAuthMiddleware as AsgiMiddleware
from keymw.rules import Rule
from keymw.wsgi import KeyAuthMiddleware as WsgiMiddleware
from rules.asking import KINDS, Undecorated


class Counted:
    """A service that counts how often a face asks it about a key."""

    def __init__(self, service):
        self.service = service
        self.asked = []

    def peek(self, value):
        self.asked.append(value)
        return self.service.peek(value)

    def __getattr__(self, name):
        return getattr(self.service, name)


class AsyncCounted(Counted):
    async def authenticate(self, value):
        return await self.service.authenticate(value)


class BlockingCounted(Counted):
    def authenticate(self, value):
        return self.service.authenticate(value)


@pytest.fixture
def counted(face):
    return (BlockingCounted if face.name == "wsgi" else AsyncCounted)(face.keys)


def twice(face, counted, between=None, outer=None, inner=None, second=None):
    """Return what two faces around one app do."""
    middleware = WsgiMiddleware if face.name == "wsgi" else AsgiMiddleware
    seen = Undecorated()
    app = middleware(face.app(seen, []), second or counted, **(inner or {}))
    app = middleware(between(app) if between else app, counted, **(outer or {}))
    return app, seen


def send(face, app, headers, path="/open"):
    if face.name == "wsgi":
        return face.send(app, face.environ(headers, path, "GET"))
    return face.read(face.send(app, face.scope(list(headers), path, "GET")))


def putting(face, value):
    """Return what puts another `Authorization` in place of the one that came, or none."""

    def between(app):
        def wsgi(environ, start_response):
            environ = {**environ, "HTTP_AUTHORIZATION": value and value.decode()}
            if value is None:
                del environ["HTTP_AUTHORIZATION"]
            return app(environ, start_response)

        async def asgi(scope, receive, send):
            headers = [field for field in scope["headers"] if field[0] != b"authorization"]
            headers += [] if value is None else [(b"authorization", value)]
            await app({**scope, "headers": headers}, receive, send)

        return wsgi if face.name == "wsgi" else asgi

    return between


@pytest.mark.parametrize("strips", [(False, False), (True, False), (False, True), (True, True)])
def test_a_key_is_looked_up_once(face, counted, keys, sqlite_url, strips):
    token = issue(keys, sqlite_url, "project")
    outer, inner = ({"strip_credentials": strip} for strip in strips)
    app, seen = twice(face, counted, outer=outer, inner=inner)
    for _ in range(2):
        counted.asked.clear()
        assert send(face, app, bearer(token)).status == 200
        assert counted.asked == [f"Bearer {token}".encode()]
        assert seen.principal.label == "machine"
    assert face.keys.stats().store_reads == 1
    shown = seen.connection.get("headers", seen.connection)
    assert (token in repr(shown)) is (strips == (False, False))


@pytest.mark.parametrize(
    "state", ["none", "basic", "foreign", "unknown", "revoked", "checksum", "garbled", "project"]
)
@pytest.mark.parametrize("options", [{}, {"required": True}, {"strip_credentials": True}])
def test_the_answer_is_that_of_one(face, counted, keys, sqlite_url, state, options):
    headers = credentials(keys, sqlite_url, state)
    app, seen = twice(face, counted, outer=options, inner=options)
    reply = send(face, app, headers)
    once, seen_once = Undecorated(), seen.principal
    wanted = face.ask(headers, "/open", seen=once, **options)
    assert (reply.status, reply.body, reply.close) == (wanted.status, wanted.body, wanted.close)
    assert sorted(reply.headers) == sorted(wanted.headers)
    assert seen_once == once.principal


def test_the_inner_one_demands_what_it_is_told_to(face, counted, keys, sqlite_url):
    headers = credentials(keys, sqlite_url, "project")
    rules = [Rule("*", "/open", ["endpoint:read"], KINDS), Rule("*", "/write", ["a:write"], KINDS)]
    app, seen = twice(face, counted, inner={"required": True, "rules": rules})
    assert send(face, app, headers).status == 200
    refused = [(headers, "/write"), (headers, "/other"), ([], "/open")]
    assert [send(face, app, *asked).status in (401, 403, None) for asked in refused] == [True] * 3
    assert seen.called == 1


def test_another_key_in_between_is_looked_up(face, counted, keys, sqlite_url):
    first = issue(keys, sqlite_url, "project")
    second = issue(keys, sqlite_url, "personal")
    app, seen = twice(face, counted, putting(face, f"Bearer {second} ".encode()))
    assert send(face, app, bearer(first)).status == 200
    assert seen.principal.label == "laptop"
    assert len(counted.asked) == 2


def test_a_key_that_is_taken_out_in_between_is_gone(face, counted, keys, sqlite_url):
    token = issue(keys, sqlite_url, "project")
    app, seen = twice(face, counted, putting(face, None), inner={"required": True})
    reply = send(face, app, bearer(token))
    assert reply.status in (401, None)
    assert seen.called == 0


def test_a_key_that_comes_in_between_is_looked_up(face, counted, keys, sqlite_url):
    token = issue(keys, sqlite_url, "project")
    app, seen = twice(face, counted, putting(face, f"Bearer {token}".encode()))
    assert send(face, app, [(b"authorization", b"Basic dXNlcjpwYXNzd29yZA==")]).status == 200
    assert seen.principal.label == "machine"


def test_another_service_asks_for_itself(face, counted, keys, sqlite_url, tmp_path):
    """A key of one database is no key of another."""
    kind = KeyService if face.name == "wsgi" else AsyncKeyService
    with KeyService(f"sqlite:///{tmp_path}/other.db") as other:
        other.migrate()
    second = kind(f"sqlite:///{tmp_path}/other.db")
    app, seen = twice(face, counted, second=second)
    reply = send(face, app, credentials(keys, sqlite_url, "project"))
    assert reply.status in (401, None)
    assert seen.called == 0
    if face.name == "wsgi":
        second.close()
    else:
        face.runner.run(second.aclose())
