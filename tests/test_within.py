"""Changes in a transaction of the application's own: told after its commit, never before."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from either import soon
from keymw import AsyncKeyService, InvalidInput, KeyNotFound, KeyService, LabelTaken, Reason
from keymw.cache.redis import RedisCache
from keymw.store.engines import parse_url
from redis_servers import FaultyServer


class Transaction:
    """A session, blocking or not, whose methods are awaited in either case."""

    def __init__(self, service, url, **options):
        self.is_async = isinstance(service.service, AsyncKeyService)
        drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg_async"}
        parsed = parse_url(url)
        if self.is_async:
            driver = drivers[parsed.drivername]
            self.engine = create_async_engine(parsed.set(drivername=driver), **options)
            self.session = AsyncSession(self.engine)
        else:
            driver = {"postgresql": "postgresql+psycopg"}.get(parsed.drivername, "sqlite")
            self.engine = create_engine(parsed.set(drivername=driver), **options)
            self.session = Session(self.engine)
        self.changes = service.service.within(self.session)

    async def do(self, name, *args, **kwargs):
        result = getattr(self.changes, name)(*args, **kwargs)
        return await result if self.is_async else result

    async def on(self, name, *args):
        result = getattr(self.session, name)(*args)
        return await result if self.is_async else result

    async def close(self):
        await self.on("close")
        done = self.engine.dispose()
        if self.is_async:
            await done


@pytest.fixture
async def fleet(services, database_url, redis_url):
    """The service that changes, another one that holds the key, and a transaction."""
    service, other = (services(database_url, redis=redis_url) for _ in range(2))
    await service.migrate()
    await other.listening()
    transaction = Transaction(service, database_url)
    yield service, other, transaction
    await transaction.close()


async def test_it_is_told_after_the_commit_never_before(fleet):
    service, other, transaction = fleet
    issued = await service.project_key()
    assert await other.reason(issued.token) is None
    told = await transaction.do("revoke", issued.key.id, actor="user-7")
    assert (told.acknowledged, told.bound.total_seconds()) == (False, 5)
    for each in (service, other):
        assert await each.reason(issued.token) is None
    before = other.service.stats().invalidations
    await asyncio.sleep(0.1)
    assert other.service.stats().invalidations == before
    await transaction.on("commit")
    await soon(lambda: other.service.stats().invalidations > before, patience=0.9)
    for each in (service, other):
        assert await each.reason(issued.token) is Reason.REVOKED
    last, *_ = await service.history(key_id=issued.key.id)
    assert last.action == "revoked"


@pytest.mark.parametrize("end", ["rollback", "close"])
async def test_what_is_not_committed_never_happened(fleet, end):
    service, other, transaction = fleet
    issued = await service.project_key()
    await transaction.do("revoke", issued.key.id)
    await transaction.on(end)
    for each in (service, other):
        assert await each.reason(issued.token) is None
    # Nor is it told with the next transaction of the same session.
    await transaction.do("deactivate_user", "user-1")
    await transaction.on("commit")
    for each in (service, other):
        assert await each.reason(issued.token) is None


async def test_what_a_savepoint_took_back_is_not_told(fleet):
    service, other, transaction = fleet
    lost, kept = [await service.project_key() for _ in range(2)]
    for issued in (lost, kept):
        assert await other.reason(issued.token) is None
    await transaction.on("execute", text("UPDATE keymw_users SET version = version"))  # begins
    savepoint = transaction.session.begin_nested()
    savepoint = await savepoint if transaction.is_async else savepoint
    await transaction.do("revoke", lost.key.id)
    undone = savepoint.rollback()
    if transaction.is_async:
        await undone
    await transaction.do("revoke", kept.key.id)
    await transaction.on("commit")
    for each in (service, other):
        await soon(lambda each=each: _is(each, kept.token, Reason.REVOKED))
        assert await each.reason(lost.token) is None


async def _is(service, token, reason):
    return await service.reason(token) is reason


async def test_every_change_can_be_made(fleet):
    service, other, transaction = fleet
    issued = await transaction.do("issue_project_key", "2", "made within", ["endpoint:read"])
    personal = await transaction.do("issue_personal_key", "user-7", "mine", ["endpoint:write"])
    for token in (issued.token, personal.token):
        assert await other.reason(token) is Reason.INVALID
    rolled = await transaction.do("roll", issued.key.id)
    changed = await transaction.do("update", personal.key.id, scopes=["endpoint:read"])
    assert changed.version == 2
    await transaction.on("commit")
    await soon(lambda: _is(other, rolled.token, None))
    await soon(lambda: _is(other, personal.token, None))
    assert await other.reason(issued.token) is Reason.ROLLED
    await transaction.do("deactivate_user", "user-7")
    await transaction.on("commit")
    await soon(lambda: _is(other, personal.token, Reason.OWNER_INACTIVE))
    await transaction.do("activate_user", "user-7")
    await transaction.on("commit")
    await soon(lambda: _is(other, personal.token, None))
    imported = await transaction.do(
        "import_key", "project_secret", "ab" * 32, "old", ["endpoint:read"], project_id="3"
    )
    await transaction.on("commit")
    assert await service.get(imported.id) == imported


async def test_it_commits_with_what_else_the_session_does(fleet):
    service, _, transaction = fleet
    await transaction.on("execute", text("CREATE TABLE theirs (x INTEGER)"))
    await transaction.on("commit")
    issued = await service.project_key()
    await transaction.on("execute", text("INSERT INTO theirs VALUES (1)"))
    await transaction.do("revoke", issued.key.id)
    await transaction.on("rollback")
    rows = await transaction.on("execute", text("SELECT x FROM theirs"))
    assert rows.all() == []
    assert await service.reason(issued.token) is None


async def test_refusals_leave_the_transaction_to_its_owner(fleet):
    service, other, transaction = fleet
    issued = await service.project_key()
    label = (await service.get(issued.key.id)).label
    with pytest.raises(LabelTaken):
        await transaction.do("issue_project_key", "2", label, ["endpoint:read"])
    with pytest.raises(KeyNotFound):
        await transaction.do("revoke", "key_none")
    with pytest.raises(InvalidInput, match="wait: the change is not committed yet"):
        await transaction.do("revoke", issued.key.id, wait=True)
    await transaction.on("commit")
    await soon(lambda: _is(other, issued.token, Reason.REVOKED))
    # Revoked already: nothing to do, nothing to tell, and the session goes on.
    await transaction.do("revoke", issued.key.id)
    await transaction.do("activate_user", "user-9")
    await transaction.on("commit")
    after = await service.project_key()
    assert await other.reason(after.token) is None


async def test_another_database_is_refused(services, sqlite_url, tmp_path):
    service = services(sqlite_url)
    await service.migrate()
    elsewhere = services(f"sqlite:///{tmp_path}/other.db")
    await elsewhere.migrate()
    issued = await service.project_key()
    transaction = Transaction(service, f"sqlite:///{tmp_path}/other.db")
    try:
        with pytest.raises(InvalidInput, match="session: it is on another database"):
            await transaction.do("revoke", issued.key.id)
    finally:
        await transaction.close()


async def test_autocommit_is_refused(services, database_url):
    """Nothing could be rolled back, and all would be told as if it could."""
    service = services(database_url)
    await service.migrate()
    issued = await service.project_key()
    transaction = Transaction(service, database_url, isolation_level="AUTOCOMMIT")
    try:
        for name, subject in [("revoke", issued.key.id), ("deactivate_user", "ann")]:
            with pytest.raises(InvalidInput, match="session: it is in AUTOCOMMIT mode"):
                await transaction.do(name, subject)
    finally:
        await transaction.close()
    assert [entry.action for entry in await service.history()] == ["issued"]
    assert await service.reason(issued.token) is None


async def test_many_changes_wait_once_for_a_redis_that_hangs(services, migrated_url, monkeypatch):
    publish, published = RedisCache.publish, []

    async def count(self, digests, message):
        published.append(message)
        return await publish(self, digests, message)

    monkeypatch.setattr(RedisCache, "publish", count)
    without = services(migrated_url)
    issued = [await without.project_key() for _ in range(30)]
    with FaultyServer(None) as hangs:
        service = services(migrated_url, redis=hangs)
        transaction = Transaction(service, migrated_url)
        try:
            for each in issued:
                await transaction.do("revoke", each.key.id)
            assert service.service._local.generation == 0
            await transaction.on("commit")
            # This process knows of all of them nevertheless.
            await soon(lambda: service.service._local.generation == len(issued))
        finally:
            await transaction.close()
            await service.close()
    assert len(published) == 1


def test_sessions_are_known_by_their_kind(keys, akeys, migrated_url):
    engine = create_engine(migrated_url)
    registry = scoped_session(sessionmaker(engine))
    assert keys.within(registry) is keys.within(registry())
    with KeyService(migrated_url) as other:
        assert other.within(registry) is not keys.within(registry)
    registry.remove()
    with engine.connect() as connection:
        for wrong in (connection, engine, None, AsyncSession()):
            with pytest.raises(TypeError, match=r"within: give a SQLAlchemy Session, not \w+"):
                keys.within(wrong)
    asynchronous = async_scoped_session(AsyncSession, scopefunc=lambda: 1)
    assert akeys.within(asynchronous) is akeys.within(asynchronous())
    with pytest.raises(TypeError, match="within: give a SQLAlchemy AsyncSession, not Session"):
        akeys.within(registry())
    engine.dispose()


def test_blocking_services_need_no_greenlet():
    code = "import sys; sys.modules['greenlet'] = None; from sqlalchemy.orm import Session; "
    code += "import keymw; keymw.KeyService('sqlite://').within(Session())"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
