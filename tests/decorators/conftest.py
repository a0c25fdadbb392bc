"""The middleware around an app, keys to ask with, and an eye on the log."""

from __future__ import annotations

import contextlib
import logging
import shutil

import pytest
from flask import Flask

from decorators.asking import Asking
from impossible import overlook
from keymw import AsyncKeyService, KeyService
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face


@pytest.fixture(autouse=True)
def _overlooked(monkeypatch):
    """Have apps start though they have routes that nobody can call: some tests call them."""
    overlook(monkeypatch)


@pytest.fixture(scope="session")
def issued(tmp_path_factory):
    """A migrated SQLite file with the keys that most tests ask with, and their tokens."""
    path = tmp_path_factory.mktemp("issued") / "keymw.db"
    with KeyService(f"sqlite:///{path}") as keys:
        keys.migrate()
        machine = keys.issue_project_key("2", "machine", ["endpoint:read"])
        person = keys.issue_personal_key("ann", "laptop", ["endpoint:read"])
        narrow = keys.issue_project_key("2", "narrow", ["flag:write"])
    return path, {"machine": machine.token, "person": person.token, "narrow": narrow.token}


@pytest.fixture
def migrated_url(sqlite_url, issued):
    shutil.copyfile(issued[0], sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@pytest.fixture
def service(keys, sqlite_url):
    """Return an asynchronous service on the database of `keys`."""
    return AsyncKeyService(sqlite_url)


@pytest.fixture
def wrap(keys, service):
    """Return what puts the middleware around an app, at either place."""

    def wrap(app, place="whole", **options):
        if isinstance(app, Flask):
            if place == "whole":
                return wsgi_face.KeyAuthMiddleware(app, keys, **options)
            app.wsgi_app = wsgi_face.KeyAuthMiddleware(app.wsgi_app, keys, **options)
            return app
        if place == "whole":
            return asgi_face.KeyAuthMiddleware(app, service, **options)
        app.add_middleware(asgi_face.KeyAuthMiddleware, keys=service, **options)
        return app

    return wrap


@pytest.fixture
def ask():
    with contextlib.closing(Asking()) as ask:
        yield ask


@pytest.fixture
def machine(issued):
    return issued[1]["machine"]


@pytest.fixture
def person(issued):
    return issued[1]["person"]


@pytest.fixture
def narrow(issued):
    return issued[1]["narrow"]


@pytest.fixture
def quiet(caplog):
    """Check that nothing at all was logged as an error."""
    yield
    entries = caplog.get_records("call") + caplog.get_records("teardown")
    assert [entry for entry in entries if entry.levelno >= logging.ERROR] == []
