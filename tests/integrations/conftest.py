"""Keys to ask with, and Django apps to ask."""

from __future__ import annotations

import contextlib
import logging
from types import SimpleNamespace

import pytest

from decorators.asking import Asking
from keymw import AsyncKeyService

#: Ways that keymw gets into a Django app: `django_asking.WAYS` says what each is.
WAYS = ["wsgi-wrapped", "wsgi-listed", "asgi-wrapped", "asgi-listed", "asgi-listed-sync"]


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
