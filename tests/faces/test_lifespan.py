"""The service starts and closes with the app, or without it."""

from __future__ import annotations

import asyncio
import contextlib

from faces.credentials import bearer
from faces.driving import AsgiHttp
from keymw import AsyncKeyService, current_principal
from keymw import asgi as asgi_face


async def lifespan_app(scope, receive, send):
    """An app as the specification shows it, with no care for errors."""
    if scope["type"] != "lifespan":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": current_principal().label.encode()})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def no_lifespan_app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": current_principal().label.encode()})


async def run_lifespan(app, requests=()):
    """Do what a server does; return what the app said and what the requests were answered."""
    incoming, said, answers = asyncio.Queue(), [], []
    heard = asyncio.Event()

    async def send(message):
        said.append(message["type"])
        heard.set()

    task = asyncio.ensure_future(app({"type": "lifespan"}, incoming.get, send))

    async def tell(kind):
        heard.clear()
        await incoming.put({"type": kind})
        waiting = asyncio.ensure_future(heard.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    await tell("lifespan.startup")
    for headers in requests:
        sent = []

        async def collect(message, sent=sent):
            sent.append(message)

        scope = AsgiHttp.__new__(AsgiHttp).scope(headers, "/open", "GET")
        await app(scope, None, collect)
        answers.append((sent[0]["status"], sent[1]["body"]))
    if not task.done():
        await tell("lifespan.shutdown")
    (error,) = await asyncio.gather(task, return_exceptions=True)
    return said, answers, error


class Spy:
    """Notes when a service is started and closed."""

    def __init__(self, service, monkeypatch):
        self.calls = []
        for name in ("start", "aclose"):
            original = getattr(service, name)

            async def noted(name=name, original=original):
                self.calls.append(name)
                await original()

            monkeypatch.setattr(service, name, noted)


async def test_the_lifespan_starts_and_closes_the_service(keys, sqlite_url, monkeypatch):
    issued = keys.issue_project_key("2", "machine", ["other:read"])
    service = AsyncKeyService(sqlite_url)
    spy = Spy(service, monkeypatch)
    app = asgi_face.KeyAuthMiddleware(lifespan_app, service)
    said, answers, error = await run_lifespan(app, [bearer(issued.token)])
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert answers == [(200, b"machine")]
    assert error is None
    assert spy.calls == ["start", "aclose"]


async def test_an_app_without_lifespan_is_served_all_the_same(keys, sqlite_url):
    issued = keys.issue_project_key("2", "machine", ["other:read"])
    service = AsyncKeyService(sqlite_url)
    app = asgi_face.KeyAuthMiddleware(no_lifespan_app, service)
    said, answers, error = await run_lifespan(app, [bearer(issued.token)])
    assert said == []
    assert isinstance(error, AssertionError)  # the app's own: the server goes on without
    assert answers == [(200, b"machine")]
    await service.aclose()


async def test_a_server_that_has_no_lifespan_is_served_all_the_same(keys, sqlite_url, runner):
    issued = keys.issue_project_key("2", "machine", ["other:read"])
    sent = []

    async def send(message):
        sent.append(message)

    async with AsyncKeyService(sqlite_url) as service:
        app = asgi_face.KeyAuthMiddleware(lifespan_app, service)
        scope = AsgiHttp.__new__(AsgiHttp).scope(bearer(issued.token), "/open", "GET")
        await app(scope, None, send)
    assert sent[1]["body"] == b"machine"


async def test_an_app_does_not_start_on_a_database_that_is_not_migrated(sqlite_url):
    """The server has to hear of it: an exception alone means "no lifespan" to many servers."""
    service = AsyncKeyService(sqlite_url)
    app = asgi_face.KeyAuthMiddleware(lifespan_app, service)
    said, _, error = await run_lifespan(app)
    await service.aclose()
    assert "lifespan.startup.complete" not in said
    assert said == ["lifespan.startup.failed"]
    assert error is None or "keymw migrate" in str(error)


async def test_a_starlette_app_does_not_start_on_a_database_that_is_not_migrated(sqlite_url):
    from starlette.applications import Starlette

    service = AsyncKeyService(sqlite_url)
    app = asgi_face.KeyAuthMiddleware(Starlette(), service)
    said, _, error = await run_lifespan(app)
    await service.aclose()
    assert said == ["lifespan.startup.failed"]
    assert "keymw migrate" in str(error)


async def test_an_app_that_migrates_while_it_starts_does_start(sqlite_url):
    from starlette.applications import Starlette

    service = AsyncKeyService(sqlite_url)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        await service.migrate()
        yield

    app = asgi_face.KeyAuthMiddleware(Starlette(lifespan=lifespan), service)
    said, _, error = await run_lifespan(app)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert error is None


async def test_a_start_that_the_app_calls_off_starts_nothing(sqlite_url, monkeypatch):
    from starlette.applications import Starlette

    @contextlib.asynccontextmanager
    async def lifespan(app):
        raise OSError("at the start")
        yield

    service = AsyncKeyService(sqlite_url)
    spy = Spy(service, monkeypatch)
    app = asgi_face.KeyAuthMiddleware(Starlette(lifespan=lifespan), service)
    said, _, error = await run_lifespan(app)
    assert said == ["lifespan.startup.failed"]
    assert isinstance(error, OSError)
    assert spy.calls == []


async def test_a_service_is_closed_even_if_the_apps_shutdown_fails(keys, sqlite_url, monkeypatch):
    from starlette.applications import Starlette

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        raise OSError("at the end")

    service = AsyncKeyService(sqlite_url)
    spy = Spy(service, monkeypatch)
    app = asgi_face.KeyAuthMiddleware(Starlette(lifespan=lifespan), service)
    said, _, error = await run_lifespan(app)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert isinstance(error, OSError)
    assert spy.calls == ["start", "aclose"]
