"""Stores for the tests, of every kind, and keys to put into them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from keymw import KeyKind, Settings
from keymw.model import Key
from keymw.ports import Update
from keymw.store.engines import make_engine, parse_url
from keymw.store.memory import MemoryStore
from keymw.store.runners import Inline, Native, Threaded
from keymw.store.sql import SqlStore

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, UTC)

#: Every runner, with the database that it runs on.
RUNNERS = ("inline-sqlite", "inline-postgresql", "threaded-sqlite", "native-postgresql")


def make_runner(name, url, settings=None):
    settings = settings or Settings()
    plain = parse_url(url)
    if name.startswith("native"):
        return Native(plain, settings)
    engine = make_engine(plain, settings)
    if name.startswith("threaded"):
        return Threaded(engine, settings.store_connections)
    return Inline(engine)


@contextlib.asynccontextmanager
async def open_store(name, url=None, settings=None, *, migrated=True):
    store = MemoryStore() if name == "memory" else SqlStore(make_runner(name, url, settings))
    try:
        if migrated:
            await store.migrate()
        yield store
    finally:
        await store.aclose()


def database_of(name, request):
    """Return the URL of a new database for a runner."""
    return request.getfixturevalue("sqlite_url" if "sqlite" in name else "postgres_url")


def new_digest():
    return os.urandom(32)


def project_key(key_id="k1", label="label", **changes):
    key = Key(
        id=key_id,
        kind=KeyKind.PROJECT_SECRET,
        label=label,
        mask="phs_...wxyz",
        scopes=frozenset({"endpoint:read"}),
        version=1,
        created_at=NOW,
        project_id="2",
    )
    return replace(key, **changes)


def personal_key(key_id="k1", user_id="ann", **changes):
    key = project_key(key_id, kind=KeyKind.PERSONAL, project_id=None, user_id=user_id)
    return replace(key, **changes)


def update(action="updated", at=NOW, actor="ann", *, digest=None, retired_until=None, **changes):
    """Return a plan that changes some fields of a key."""
    return lambda key: Update(action, replace(key, **changes), at, actor, digest, retired_until)


def roll(digest, until=NOW + timedelta(hours=1)):
    return update("rolled", digest=digest, retired_until=until, last_rolled_at=NOW)
