"""Each face, with a service of its own."""

from __future__ import annotations

import asyncio

import pytest

from faces.driving import FACES, AsgiHttp, Wsgi


@pytest.fixture
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=FACES)
def face(request, keys, sqlite_url, runner):
    """Each face in turn, with a service of its own on the database of `keys`."""
    face = FACES[request.param](sqlite_url, runner)
    yield face
    face.close()


@pytest.fixture
def asgi(keys, sqlite_url, runner):
    face = AsgiHttp(sqlite_url, runner)
    yield face
    face.close()


@pytest.fixture
def wsgi(keys, sqlite_url):
    face = Wsgi(sqlite_url, None)
    yield face
    face.close()
