"""The context of a request: kept apart from all others, and gone afterwards."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from faces.credentials import bearer, issue
from faces.driving import AsgiHttp, serve
from keymw import AnonymousPrincipal, current_principal
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face


def test_the_apps_own_exceptions_pass_through(face, keys, sqlite_url):
    class Mine(Exception):  # noqa: N818
        pass

    def fail(*_):
        raise Mine

    async def fail_later(*_):
        raise Mine

    token = issue(keys, sqlite_url, "project")
    for headers in ([], bearer(token)):
        if face.name == "wsgi":
            app = wsgi_face.KeyAuthMiddleware(fail, face.keys)
            call = partial(app, face.environ(headers, "/open", "GET"), None)
        else:
            app = asgi_face.KeyAuthMiddleware(fail_later, face.keys)
            call = partial(face.send, app, face.scope(headers, "/open", "GET"))
        with pytest.raises(Mine):
            call()
        assert current_principal() == AnonymousPrincipal()


def test_threads_keep_apart(wsgi, keys):
    issued = [keys.issue_project_key("2", f"key {n}", ["other:read"]) for n in range(8)]
    barrier = threading.Barrier(len(issued), timeout=30)
    wrong = []

    def app(environ, start_response):
        barrier.wait()
        mine = current_principal().key_id
        barrier.wait()
        start_response("200 OK", [])
        return [f"{mine} {current_principal().key_id}".encode()]

    def client(key):
        for _ in range(20):
            body = b"".join(serve(wsgi, app, bearer(key.token))).decode()
            if body != f"{key.key.id} {key.key.id}":
                wrong.append(body)
            if current_principal() != AnonymousPrincipal():
                wrong.append(current_principal())

    threads = [threading.Thread(target=client, args=(key,)) for key in issued]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


async def test_tasks_keep_apart(akeys):
    issued = [await akeys.issue_project_key("2", f"key {n}", ["other:read"]) for n in range(8)]
    meeting = asyncio.Barrier(len(issued) + 1)

    async def app(scope, receive, send):
        before = current_principal().key_id
        await meeting.wait()
        assert current_principal().key_id == before
        assert scope["user"].key_id == before
        late = await asyncio.create_task(later())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{before} {late}".encode()})

    async def later():
        return current_principal().key_id

    face = asgi_face.KeyAuthMiddleware(app, akeys)
    driver = AsgiHttp.__new__(AsgiHttp)

    async def client(headers):
        sent = []

        async def send(message):
            sent.append(message)

        await face(driver.scope(headers, "/open", "GET"), None, send)
        assert current_principal() == AnonymousPrincipal()
        return sent[1]["body"].decode()

    bodies = await asyncio.gather(*(client(bearer(key.token)) for key in issued), client([]))
    assert bodies == [f"{key.key.id} {key.key.id}" for key in issued] + ["None None"]


async def test_a_request_that_is_cancelled_leaves_nothing_behind(akeys):
    issued = await akeys.issue_project_key("2", "a", ["other:read"])
    inside = asyncio.Event()

    async def app(scope, receive, send):
        inside.set()
        await asyncio.Event().wait()

    face = asgi_face.KeyAuthMiddleware(app, akeys)
    scope = AsgiHttp.__new__(AsgiHttp).scope(bearer(issued.token), "/open", "GET")
    serving = asyncio.ensure_future(face(scope, None, None))
    await inside.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert current_principal() == AnonymousPrincipal()


def test_outside_of_a_request_the_principal_is_anonymous():
    assert current_principal() == AnonymousPrincipal()
    assert current_principal().scopes == frozenset()


async def test_what_a_server_starts_within_the_last_send_is_not_this_request(akeys):
    """Servers begin the next request of a connection there, in a copy of the context."""
    issued = await akeys.issue_project_key("2", "a", ["other:read"])
    begun = []

    async def send(message):
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        if is_last:
            begun.append(asyncio.ensure_future(asyncio.to_thread(current_principal)))

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})
        assert current_principal().key_id == issued.key.id  # background work goes on

    face = asgi_face.KeyAuthMiddleware(app, akeys)
    scope = AsgiHttp.__new__(AsgiHttp).scope(bearer(issued.token), "/open", "GET")
    await face(scope, None, send)
    assert [await task for task in begun] == [AnonymousPrincipal()]
