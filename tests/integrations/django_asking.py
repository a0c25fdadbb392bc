"""Asks a Django app under WSGI and under ASGI, in each of the ways that keymw gets into it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import httpx
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from werkzeug.test import Client

from decorators.asking import Answer
from keymw import AsyncKeyService, asgi, wsgi

OURS = "keymw.integrations.django.KeyAuthMiddleware"
PROJECT = "integrations.django_project"

#: Server interface, how keymw is there, and what stands within.
WAYS = {
    "wsgi-wrapped": ("wsgi", "wrapped", ()),
    "wsgi-listed": ("wsgi", "listed", ()),
    "asgi-wrapped": ("asgi", "wrapped", ()),
    "asgi-listed": ("asgi", "listed", ()),
    "asgi-listed-sync": ("asgi", "listed", ("OnlySync",)),
}


class Asking:
    """One app, asked as a server does; what it raises, the test raises."""

    def __init__(self, way, keys, url):
        self.interface, self.how, self._within = WAYS[way]
        self._keys = keys
        self._async_keys = AsyncKeyService(url)
        self._settings = ExitStack()
        self.app = None

    def serve(self, *, outside=("Marks",), within=(), options=None, **settings):
        """Start the app anew, with other middleware of the project or other settings."""
        options = options or {}
        own = [*outside, OURS, *self._within, *within]
        middleware = [name if name == OURS else f"{PROJECT}.{name}" for name in own]
        if self.how == "wrapped":
            middleware.remove(OURS)
        upper = {name.upper(): value for name, value in options.items()}
        services = {"SERVICE": self._keys, "ASYNC_SERVICE": self._async_keys}
        self._settings.close()
        self._settings.enter_context(
            override_settings(MIDDLEWARE=middleware, KEYMW={**services, **upper}, **settings)
        )
        self.app = self._handler()
        if self.how == "wrapped" and self.interface == "wsgi":
            self.app = wsgi.KeyAuthMiddleware(self.app, self._keys, **options)
        elif self.how == "wrapped":
            self.app = asgi.KeyAuthMiddleware(self.app, self._async_keys, **options)

    def _handler(self):
        return WSGIHandler() if self.interface == "wsgi" else ASGIHandler()

    def bare(self):
        """Return the app without keymw."""
        with override_settings(MIDDLEWARE=[]):
            return self._handler()

    async def __call__(self, path, token=None, *, app=None, method="GET", headers=None, **more):
        app = app or self.app
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if self.interface == "wsgi":
            # As on a server, where no event loop runs in the thread.
            return await asyncio.to_thread(_ask_wsgi, app, method, f"/{path}", headers, more)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            got = await client.request(method, f"/{path}", headers=headers, **more)
        return Answer(got.status_code, got.headers.items(), got.content)

    async def close(self):
        self._settings.close()
        await self._async_keys.aclose()


def _ask_wsgi(app, method, path, headers, more):
    with Client(app).open(path, method=method, headers=headers, **more) as got:
        return Answer(got.status_code, got.headers.items(), got.get_data())
