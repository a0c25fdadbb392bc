"""Keys to ask with, and Django apps to ask."""

from __future__ import annotations

import contextlib
import logging
from types import SimpleNamespace

import pytest

from decorators.asking import Asking
from impossible import overlook
from keymw import AsyncKeyService, KeyService

#: Ways that keymw gets into a Django app: `django_asking.WAYS` says what each is.
WAYS = ["wsgi-wrapped", "wsgi-listed", "asgi-wrapped", "asgi-listed", "asgi-listed-sync"]


@pytest.fixture(autouse=True)
def _overlooked(monkeypatch):
    """Have apps start though they have routes that nobody can call: some tests call them."""
    overlook(monkeypatch)


@pytest.fixture
def tokens(keys):
    return SimpleNamespace(
        machine=keys.issue_project_key("2", "machine", ["endpoint:read"]).token,
        person=keys.issue_personal_key("user-7", "laptop", ["endpoint:read"]).token,
        narrow=keys.issue_project_key("2", "narrow", ["flag:write"]).token,
    )


@pytest.fixture
def service(keys, sqlite_url):
    """An asynchronous service on the database of `keys`."""
    return AsyncKeyService(sqlite_url)


@pytest.fixture
def ask():
    with contextlib.closing(Asking()) as ask:
        yield ask


@pytest.fixture
async def from_env(monkeypatch, sqlite_url):
    """Services that apps make of the environment; closed when the test has ended."""
    made = []

    def close_later(kind):
        make = kind.from_env

        def from_env(**options):
            made.append(make(**options))
            return made[-1]

        monkeypatch.setattr(kind, "from_env", from_env)

    monkeypatch.setenv("KEYMW_DATABASE_URL", sqlite_url)
    close_later(KeyService)
    close_later(AsyncKeyService)
    yield made
    for service in made:
        if isinstance(service, AsyncKeyService):
            await service.aclose()
        else:
            service.close()


@pytest.fixture(params=WAYS)
async def django_app(request, keys, sqlite_url):
    """A Django app in each of the ways, to be asked."""
    from integrations.django_asking import Asking

    asking = Asking(request.param, keys, sqlite_url)
    asking.serve()
    yield asking
    await asking.close()


@pytest.fixture
def quiet(caplog):
    """Check that nothing at all was logged, but for answers that the app itself has given."""
    yield
    entries = caplog.get_records("call") + caplog.get_records("teardown")
    warnings = [entry for entry in entries if entry.levelno >= logging.WARNING]
    own = ("Not Found: ", "Method Not Allowed")
    assert [entry for entry in warnings if not entry.getMessage().startswith(own)] == []
