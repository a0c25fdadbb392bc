"""The console, and people who use it without a browser."""

from __future__ import annotations

import itertools
import re

import httpx
import pytest

from keymw.console import create_app

SECRET = "of the tests, not of anybody"
PROJECT = "/projects/2"

_numbers = itertools.count()


class Visitor:
    """A browser without scripts: keeps cookies, sends forms as pages have them."""

    def __init__(self, app, token=None):
        self.token = token
        self.key = None
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        self.client = httpx.AsyncClient(
            transport=transport, base_url="https://console", headers={"Host": "console"}
        )

    async def get(self, path, status=200):
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer

    async def send(self, path, status=303, *, headers=(), csrf=None, **fields):
        """Send a form with the session's CSRF value, unless another one is given."""
        if csrf is None:
            csrf = await self.csrf()
        data = {"csrf": csrf, **fields}
        answer = await self.client.post(path, data=data, headers=dict(headers))
        assert answer.status_code == status, answer.text
        return answer

    async def csrf(self):
        page = (await self.client.get("/me")).text
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        return found[1] if found else ""

    async def sign_in(self, status=303, **headers):
        answer = await self.client.post("/sign-in", data={"token": self.token}, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    async def create(self, place=PROJECT, label=None, scopes="endpoint:read"):
        """Make a key on the page; gives its token and its id."""
        label = label or f"label {next(_numbers)}"
        page = await self.send(f"{place}/new", 200, label=label, scopes=scopes)
        token = re.search(r'id="token">([^<]+)<', page.text)[1]
        return token, re.search(r"/keys/(key_\w+)", page.text)[1]


class Office:
    """A service, its console, and the people who come to it."""

    def __init__(self, keys, **options):
        self.keys = keys
        self.app = create_app(keys, secret=SECRET, **options)

    async def person(self, user="user-7", scopes=("*",), **limits):
        """Return a visitor who has signed in with a new personal key."""
        label = f"desk {next(_numbers)}"
        issued = await self.keys.issue_personal_key(user, label, [*scopes], **limits)
        visitor = Visitor(self.app, issued.token)
        visitor.key = issued.key
        await visitor.sign_in()
        return visitor


@pytest.fixture
async def office(akeys):
    return Office(akeys)


@pytest.fixture
async def person(office):
    return await office.person()
