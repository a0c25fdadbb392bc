"""The management API on each database, and people who use it."""

from __future__ import annotations

import itertools

import httpx
import psycopg
import pytest

from keymw import AsyncKeyService, KeyService
from keymw.management import create_app

_numbers = itertools.count()

PROJECT = "/projects/2/keys"
OWN = "/users/me/keys"


def fields(problem):
    """Return which fields a problem document names."""
    return [error["field"] for error in problem["errors"]]


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster):
    """The name of a migrated database to be copied."""
    name = "management_template"
    with psycopg.connect(postgres_cluster, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with KeyService(postgres_cluster.replace("/postgres?", f"/{name}?")) as service:
        service.migrate()
    return name


@pytest.fixture
def migrated_postgres_url(postgres_cluster, postgres_template):
    name = f"management_{next(_numbers)}"
    with psycopg.connect(postgres_cluster, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    return postgres_cluster.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Each database in turn, migrated."""
    names = {"sqlite": "migrated_url", "postgresql": "migrated_postgres_url"}
    return request.getfixturevalue(names[request.param])


class Person:
    """A client of the API with one key."""

    def __init__(self, app, token=None, key=None, base="http://api"):
        self.token = token
        self.key = key
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        self._client = httpx.AsyncClient(transport=transport, base_url=base, headers=headers)

    async def ask(self, method, path, status=200, **options):
        """Return the answer, which is of this status, and is never to be stored."""
        answer = await self._client.request(method, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert "Authorization" in answer.headers["vary"]
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            if method != "HEAD":
                assert answer.json()["status"] == status
                assert answer.json()["title"]
        return answer

    async def get(self, path, status=200, **options):
        return (await self.ask("GET", path, status, **options)).json()

    async def post(self, path, body=None, status=200, **options):
        given = {} if body is None else {"json": body}
        return (await self.ask("POST", path, status, **given, **options)).json()

    async def patch(self, path, body, status=200):
        return (await self.ask("PATCH", path, status, json=body)).json()

    async def delete(self, path, status=200, **options):
        return (await self.ask("DELETE", path, status, **options)).json()

    async def create(self, path=PROJECT, scopes=("endpoint:read",), status=201, **fields):
        """Make a key with a label that is new."""
        fields = {"label": f"label {next(_numbers)}", "scopes": [*scopes], **fields}
        return await self.post(path, fields, status)


class Office:
    """A service, its API, and the people who come to it."""

    def __init__(self, keys, **options):
        self.keys = keys
        self.app = create_app(keys, **options)

    async def person(self, user="user-7", scopes=("*",), **limits):
        """Return a client with a new personal key of a user's."""
        label = f"desk {next(_numbers)}"
        issued = await self.keys.issue_personal_key(user, label, [*scopes], **limits)
        return Person(self.app, issued.token, issued.key)

    async def machine(self, scopes=("api_key:read",)):
        """Return a client with a new project key."""
        label = f"machine {next(_numbers)}"
        issued = await self.keys.issue_project_key("2", label, [*scopes])
        return Person(self.app, issued.token, issued.key)

    def stranger(self, token=None):
        return Person(self.app, token)


@pytest.fixture
async def service(url):
    async with AsyncKeyService(url) as service:
        yield service


@pytest.fixture
def office(service):
    """The API, with nothing to say whose projects are whose."""
    return Office(service)


@pytest.fixture
async def sqlite_office(akeys):
    """The same on SQLite alone, for what no database has a part in."""
    return Office(akeys)
