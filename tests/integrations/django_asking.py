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
    "asgi-listed-sync": ("asgi", "listed", (f"{PROJECT}.OnlySync",)),
}


class Asking:
    """One app, asked as a server does; what it raises, the test raises."""

    def __init__(self, way, keys, url):
        self.interface, self.how, self._within = WAYS[way]
        self._keys = keys
        self._async_keys = AsyncKeyService(url)
        self._settings = ExitStack()
        self.app = None

    def serve(self, *, outside=(f"{PROJECT}.Marks",), within=(), options=None, **settings):
        """Start the app anew, with other middleware or settings."""
        options = options or {}
        listed = [OURS] if self.how == "listed" else []
        upper = {name.upper(): value for name, value in options.items()}
        services = {"SERVICE": self._keys, "ASYNC_SERVICE": self._async_keys}
        self._settings.close()
        self._settings.enter_context(
            override_settings(
                MIDDLEWARE=[*outside, *listed, *self._within, *within],
                KEYMW={**services, **upper},
                **settings,
            )
        )
        is_wsgi = self.interface == "wsgi"
        self.app = WSGIHandler() if is_wsgi else ASGIHandler()
        if self.how == "wrapped":
            face, service = (wsgi, self._keys) if is_wsgi else (asgi, self._async_keys)
            self.app = face.KeyAuthMiddleware(self.app, service, **options)

    async def __call__(self, path, token=None, *, method="GET", headers=None, **more):
        path = f"/{path}"
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if self.interface == "wsgi":
            # As on a server, where no event loop runs in the thread.
            return await asyncio.to_thread(self._ask_wsgi, path, method, headers, more)
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            got = await client.request(method, path, headers=headers, **more)
        return Answer(got.status_code, got.headers.items(), got.content)

    def _ask_wsgi(self, path, method, headers, more):
        with Client(self.app).open(path, method=method, headers=headers, **more) as got:
            return Answer(got.status_code, got.headers.items(), got.get_data())

    async def close(self):
        self._settings.close()
        await self._async_keys.aclose()
