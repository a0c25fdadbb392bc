"""WSGI bodies and `start_response`: within the request, closed once, never leaking."""

from __future__ import annotations

import io
import json

import pytest

from faces.app import Seen, both
from faces.credentials import bearer
from faces.driving import answering, serve
from keymw import AnonymousPrincipal, current_principal
from keymw import wsgi as wsgi_face
from keymw.errors import AccessDenied


class Body:
    """A WSGI body that records what is done with it."""

    def __init__(self, parts, seen):
        self.parts = iter(parts)
        self.seen = seen
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.seen.append(current_principal().key_id)
        return next(self.parts)

    def close(self):
        self.closed += 1
        self.seen.append(current_principal().key_id)


def test_a_body_is_drawn_and_closed_within_the_request(wsgi, keys):
    issued = keys.issue_project_key("2", "a", ["other:read"])
    seen = []
    body = Body([b"1", b"2"], seen)
    answer = serve(wsgi, answering(body), bearer(issued.token))
    assert current_principal() == AnonymousPrincipal()
    for part in answer:
        assert part in (b"1", b"2")
        assert current_principal() == AnonymousPrincipal()
    answer.close()
    assert body.closed == 1
    assert seen == [issued.key.id] * 4
    assert current_principal() == AnonymousPrincipal()


def test_a_generator_that_the_server_never_closes_does_not_leak(wsgi, keys):
    issued = keys.issue_project_key("2", "a", ["other:read"])
    seen = []

    def stream():
        for _ in range(3):
            seen.append(current_principal().key_id)
            yield b"x"

    abandoned = serve(wsgi, answering(stream), bearer(issued.token))
    assert next(iter(abandoned)) == b"x"
    # The thread goes on with another request while the body of the first one still exists.
    assert current_principal() == AnonymousPrincipal()
    nobody = Seen()
    wsgi.ask([], "/open", seen=nobody)
    assert nobody.principal == AnonymousPrincipal()
    assert next(abandoned) == b"x"
    del abandoned
    assert current_principal() == AnonymousPrincipal()
    assert seen == [issued.key.id] * 2


def test_two_bodies_drawn_in_turns_keep_apart(wsgi, keys):
    one, two = (keys.issue_project_key("2", label, ["other:read"]) for label in "ab")

    def stream():
        for _ in range(3):
            yield current_principal().key_id.encode()

    bodies = [serve(wsgi, answering(stream), bearer(issued.token)) for issued in (one, two)]
    drawn = [next(body).decode() for _ in range(3) for body in bodies]
    assert drawn == [one.key.id, two.key.id] * 3
    for body in bodies:
        body.close()


def test_a_failing_body_leaves_nothing_behind(wsgi, keys):
    headers = bearer(keys.issue_project_key("2", "a", ["other:read"]).token)

    class Unwilling:
        def __iter__(self):
            raise OSError("in iter")

        def close(self):
            raise OSError("in close")

    def stream():
        yield b"1"
        raise OSError("in the middle")

    answer = serve(wsgi, answering(stream), headers)
    assert next(answer) == b"1"
    with pytest.raises(OSError, match="in the middle"):
        next(answer)
    assert current_principal() == AnonymousPrincipal()
    answer = serve(wsgi, answering(Unwilling()), headers)
    with pytest.raises(OSError, match="in iter"):
        next(iter(answer))
    with pytest.raises(OSError, match="in close"):
        answer.close()
    assert current_principal() == AnonymousPrincipal()


def test_a_body_that_has_begun_is_not_answered_twice(wsgi):
    def stream():
        yield b"begun"
        yield both().encode()

    answer = serve(wsgi, answering(stream), [])
    assert next(answer) == b"begun"
    with pytest.raises(AccessDenied):
        next(answer)
    assert current_principal() == AnonymousPrincipal()


def test_a_body_without_close_can_be_closed(wsgi):
    answer = serve(wsgi, answering(lambda: iter([b"1"])), [])
    assert list(answer) == [b"1"]
    answer.close()


def test_lists_and_the_servers_files_reach_the_server_as_they_are(wsgi):
    from wsgiref.util import FileWrapper

    for body in ([b"1"], (b"1",)):
        assert serve(wsgi, answering(body), []) is body
    environ = wsgi.environ([], "/open", "GET") | {"wsgi.file_wrapper": FileWrapper}
    file = FileWrapper(io.BytesIO(b"1"))
    face = wsgi_face.KeyAuthMiddleware(answering(file), wsgi.keys)
    assert face(environ, lambda *_: None) is file


def test_what_start_response_returns_can_be_written_to(wsgi):
    written = []

    def app(environ, start_response):
        start_response("200 OK", [])(b"old style")
        return []

    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    face(wsgi.environ([], "/open", "GET"), lambda *_: written.append)
    assert written == [b"old style"]


def test_start_response_gets_the_apps_exception(wsgi):
    calls = []

    def app(environ, start_response):
        start_response("200 OK", [])
        start_response("500 Oops", [("Vary", "Cookie")], ("kind", "error", "trace"))
        return []

    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    face(wsgi.environ([], "/open", "GET"), lambda *args: calls.append(args))
    assert calls == [
        ("200 OK", [("Vary", "Authorization")]),
        ("500 Oops", [("Vary", "Cookie, Authorization")], ("kind", "error", "trace")),
    ]


def test_a_view_that_refuses_after_start_response_is_answered_with_the_refusal(wsgi):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [both().encode()]

    calls = []
    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    body = face(wsgi.environ([], "/both", "GET"), lambda *args: calls.append(args))
    assert [call[0] for call in calls] == ["200 OK", "401 Unauthorized"]
    assert calls[1][2][0] is not None  # PEP 3333: a second call needs exc_info
    assert json.loads(b"".join(body))["status"] == 401


@pytest.mark.parametrize("lazy", [False, True], ids=["at once", "as a generator"])
def test_a_view_that_refuses_before_start_response_has_no_exception_told_to_the_server(wsgi, lazy):
    """PEP 3333 has it "only if" an answer has begun; uWSGI fails where it is given one."""

    def app(environ, start_response):
        return [both().encode()]

    def drawn(environ, start_response):
        yield both().encode()

    calls = []
    face = wsgi_face.KeyAuthMiddleware(drawn if lazy else app, wsgi.keys)
    body = face(wsgi.environ([], "/both", "GET"), lambda *args: calls.append(args))
    assert json.loads(b"".join(body))["status"] == 401
    assert [(call[0], len(call)) for call in calls] == [("401 Unauthorized", 2)]


def test_an_app_that_is_a_generator_is_answered_with_the_refusal(wsgi, keys):
    """PEP 3333 allows an app to run only when its first chunk is drawn."""

    def app(environ, start_response):
        body = both().encode()
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield body

    face = wsgi_face.KeyAuthMiddleware(app, wsgi.keys)
    headers = bearer(keys.issue_project_key("2", "a", ["endpoint:read"]).token)
    assert wsgi.send(face, wsgi.environ(headers, "/both", "GET")).body == b"both"
    reply = wsgi.send(face, wsgi.environ([], "/both", "GET"))
    assert reply.status == 401
    assert json.loads(reply.body)["code"] == "not_authenticated"
