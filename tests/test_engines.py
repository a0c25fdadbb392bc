"""URLs, and what the databases' troubles become: one clear line, with no secret in it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import traceback

import psycopg
import pytest
from sqlalchemy import event

from keymw import AsyncKeyService, KeyService, Settings
from keymw.errors import InvalidInput, NotMigrated, StoreUnavailable
from keymw.store import deadline
from keymw.store import statements as sql
from keymw.store.engines import make_engine, parse_url
from keymw.store.faults import translate
from stores import NOW, RUNNERS, database_of, make_runner, new_digest, open_store, project_key

PASSWORD = "correct-horse"
BOTH = pytest.mark.parametrize("service", [KeyService, AsyncKeyService])


def said(error):
    """Return everything that a log would hold of an error."""
    return "".join(traceback.format_exception(error))


# ---- URLs -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "url",
    [
        "",
        "keymw.db",
        PASSWORD,
        f"postgresql:/u:{PASSWORD}@host/name",
        f"postgresql://u@host:{PASSWORD}/name",
        f"postgresql+asyncpg://u:{PASSWORD}@host/name",
        f"mysql://u:{PASSWORD}@host/name",
        "sqlite+aiosqlite:///keymw.db",
        "sqlite://keymw.db",
        f"sqlite://u:{PASSWORD}@/keymw.db",
        None,
        5,
    ],
)
def test_a_wrong_url(service, url):
    with pytest.raises(ValueError, match=r"^database: .*write sqlite:///file\.db") as caught:
        service(url)
    assert PASSWORD not in said(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("sqlite://", "sqlite://"),
        ("sqlite:///keymw.db", "sqlite:///keymw.db"),
        ("sqlite:////tmp/a b.db", "sqlite:////tmp/a b.db"),
        ("postgres://u@h/n", "postgresql://u@h/n"),
        ("postgresql+psycopg://u@h:1/n?sslmode=require", "postgresql://u@h:1/n?sslmode=require"),
    ],
)
def test_a_plain_url(url, plain):
    assert parse_url(url).render_as_string() == plain


def test_what_the_url_says_goes_first(postgres_url):
    url = f"{postgres_url}&application_name=mine&options=-c%20statement_timeout%3D5s"
    engine = make_engine(parse_url(url), Settings())
    with engine.connect() as connection:
        shown = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("application_name", "statement_timeout", "timezone")
        }
    engine.dispose()
    assert shown == {
        "application_name": "mine",
        "statement_timeout": "5s",
        "timezone": "UTC",
    }


@pytest.mark.parametrize("name", ["inline-postgresql", "native-postgresql"])
async def test_the_servers_time_zone_does_not_matter(name, postgres_url):
    """The last day of the calendar, which some take for never, is over by then in Nepal."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(f"ALTER DATABASE {database} SET timezone = 'Asia/Kathmandu'")
    last = NOW.replace(year=9999, month=12, day=31, hour=23)
    async with open_store(name, postgres_url) as store:
        await store.insert(project_key(expires_at=last), new_digest(), "created", None)
        assert (await store.get("k1")).expires_at == last


@pytest.mark.parametrize("name", ["inline", "native"])
def test_without_the_driver(name, monkeypatch):
    for module in ("keymw.store.postgres", "psycopg"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keymw\[postgres\]"'):
        make_runner(name, f"postgresql://u:{PASSWORD}@host/name")


@pytest.mark.parametrize("service", [KeyService, AsyncKeyService])
def test_without_the_driver_no_service_is_made(service, monkeypatch):
    monkeypatch.setattr("keymw.store.engines.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "keymw\[postgres\]"') as caught:
        service(f"postgresql://u:{PASSWORD}@host/name")
    assert PASSWORD not in str(caught.value)
    assert service("sqlite://") is not None


# ---- databases that are not there, or not what they should be -----------------------------------


def test_a_folder_that_does_not_exist(tmp_path):
    refused(f"sqlite:///{tmp_path}/missing/keymw.db", "make its folder", migrating=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_something_else(tmp_path):
    (tmp_path / "keymw.db").write_text("Dear diary, " * 1000)
    refused(f"sqlite:///{tmp_path}/keymw.db", "correct the path", migrating=True)


def test_a_folder_in_the_place_of_the_file(tmp_path):
    refused(f"sqlite:///{tmp_path}", "unable to open", migrating=True)


def test_a_file_that_may_only_be_read(tmp_path):
    path = f"{tmp_path}/keymw.db"
    with KeyService(f"sqlite:///{path}") as keys:
        keys.migrate()
        token = keys.issue_project_key("2", "label", ["a:read"]).token
        with KeyService(f"sqlite:///file:{path}?mode=ro&uri=true") as readers:
            assert readers.verify(token).principal.label == "label"
            with pytest.raises(StoreUnavailable, match="readonly database - let this process"):
                readers.issue_project_key("2", "other", ["a:read"])


def test_a_disk_that_is_full(sqlite_url):
    with KeyService(sqlite_url) as keys:
        keys.migrate()
    with KeyService(sqlite_url) as keys:
        engine = keys._deps().store._run._engine

        @event.listens_for(engine, "connect")
        def fill(connection, _):
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 2}")

        issued = []
        labels = (f"label {number}" for number in range(1000))
        with pytest.raises(StoreUnavailable, match="disk is full - make room"):
            issued.extend(keys.issue_project_key("2", label, ["a:read"]) for label in labels)
        assert keys.verify(issued[-1].token).principal.key_id == issued[-1].key.id
        assert len(keys.list(project_id="2")) == len(issued)
        assert len(keys.history(project_id="2", limit=1000)) == len(issued)


def test_a_disk_that_is_full_before_the_tables_are_made(sqlite_url):
    with KeyService(sqlite_url) as keys:
        engine = keys._deps().store._run._engine

        @event.listens_for(engine, "connect")
        def fill(connection, _):
            connection.execute("PRAGMA max_page_count = 8")

        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="disk is full - make room"):
                keys.migrate()
    with KeyService(sqlite_url) as keys:
        keys.migrate()
        assert keys.list() == []


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (lambda url: f"postgresql://u:{PASSWORD}@127.0.0.1:1/name", "check its URL, and that"),
        (lambda url: f"postgresql://u:{PASSWORD}@127.0.0.1:1/name?bogus=1", "correct its URL"),
        (lambda url: f"postgresql://u:{PASSWORD}@127.0.0.1:99999/name", "correct its URL"),
        (lambda url: f"postgresql://u:{PASSWORD}@/name?host=/nowhere", "check its URL, and that"),
        (lambda url: url.replace("keymw@/test", f"keymw:{PASSWORD}@/no"), "or create it"),
        (lambda url: url.replace("keymw@", f"nobody:{PASSWORD}@"), "or create it"),
    ],
)
def test_a_postgresql_that_is_not_there(postgres_url, change, advice):
    refused(change(postgres_url), advice, migrating=True)


@pytest.mark.parametrize("name", ["inline-postgresql", "native-postgresql"])
async def test_a_wrong_password(name, postgres_url, tmp_path):
    """The refusal of a server that does ask: this one speaks just enough of the protocol."""
    refusal = b'SFATAL\0C28P01\0Mpassword authentication failed for user "u"\0\0'

    async def refuse(reader, writer):
        length = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(length - 4)
        writer.write(b"E" + (len(refusal) + 4).to_bytes(4, "big") + refusal)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/n?sslmode=disable&gssencmode=disable"

    def ask():
        async def answer():
            async with open_store(name, url, migrated=False) as store:
                await store.position()

        asyncio.run(answer())

    with pytest.raises(StoreUnavailable, match="correct the user and the password") as caught:
        await asyncio.to_thread(ask)
    assert PASSWORD not in said(caught.value)
    server.close()
    await server.wait_closed()


def refused(url, words, *, migrating):
    with KeyService(url) as keys:
        calls = [lambda: keys.get("k1"), lambda: keys.issue_project_key("2", "a", ["a:read"])]
        if migrating:
            calls.append(keys.migrate)
        for call in calls:
            with pytest.raises(StoreUnavailable, match=words) as caught:
                call()
            assert not isinstance(caught.value, (NotMigrated, InvalidInput))
            assert "\n" not in str(caught.value)
            assert PASSWORD not in said(caught.value)


def test_an_error_that_says_nothing():
    assert str(translate(OSError())) == "The database cannot answer: OSError"


# ---- databases that are busy --------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNNERS)
async def test_a_lock_that_is_held_too_long(name, request):
    url = database_of(name, request)
    async with open_store(name, url, Settings(store_timeout=0.3)) as store:
        digest = new_digest()
        await store.insert(project_key("a"), digest, "created", None)
        if "sqlite" in name:
            other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
        else:
            other = psycopg.connect(url)
            other.execute("UPDATE keymw_counter SET value = value")
        start = time.monotonic()
        with pytest.raises(StoreUnavailable, match="lock"):
            await store.insert(project_key("b", "b"), new_digest(), "created", None)
        assert 0.25 < time.monotonic() - start < 1.3
        # Who only reads need not wait for who writes.
        assert (await store.find(digest)).key_id == "a"
        other.rollback()
        other.close()
        await store.insert(project_key("b", "b"), new_digest(), "created", None)
        assert await store.position() == 2


async def test_busy_threads_hold_nobody(sqlite_url):
    settings = Settings(store_timeout=0.2, store_connections=2)
    async with open_store("threaded-sqlite", sqlite_url, settings) as store:
        release, begun = threading.Event(), []

        def work(connection):
            begun.append(connection)
            release.wait(10)

        hanging = [asyncio.create_task(store._run.write(work))]
        hanging.append(asyncio.create_task(store._run.read(work)))
        try:
            late = asyncio.create_task(store._run.write(work))
            with pytest.raises(StoreUnavailable, match="all threads are busy"):
                await late
        finally:
            release.set()
            await asyncio.wait(hanging)
        # They had begun, so their end was waited for: no error says that a change has failed.
        assert [task.exception() for task in hanging] == [None, None]
        assert await store.position() == 0
        assert len(begun) == 2


def test_what_has_no_deadline():
    assert deadline.left() == float("inf")
    with deadline.within(5):
        with deadline.within(1):
            assert 0 < deadline.left() <= 1
        assert 1 < deadline.left() <= 5
    assert deadline.left() == float("inf")


# ---- connections that break ---------------------------------------------------------------------


def end_connections(url):
    """End what keymw has open in a PostgreSQL; returns how many there were."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'keymw'"
        ).fetchone()[0]


async def test_a_write_does_not_mind_that_its_connection_has_died(services, postgres_url):
    one = services(postgres_url)
    await one.migrate()
    issued = [await one.project_key() for _ in range(3)]
    for each in issued:
        assert end_connections(postgres_url) > 0
        await one.revoke(each.key.id)
    told = [(entry.action, entry.key_id) for entry in await one.history(limit=3)]
    assert told == [("revoked", each.key.id) for each in reversed(issued)]


async def test_a_commit_that_breaks_off_is_not_repeated(services, postgres_url):
    """Nobody knows whether it was made, and a second issue would be a second key."""
    one = services(postgres_url)
    await one.migrate()
    issued = await one.project_key()
    engine = one.deps.store._run._engine
    commits = []

    @event.listens_for(getattr(engine, "sync_engine", engine), "commit")
    def break_off(_):
        commits.append("commit")
        if len(commits) == 1:
            assert end_connections(postgres_url) > 0

    with pytest.raises(StoreUnavailable) as caught:
        await one.revoke(issued.key.id)
    words = "It is not known whether the change was made: repeat it."
    assert str(caught.value).startswith("The database cannot answer: ")
    assert str(caught.value).endswith(words)
    assert "\n" not in str(caught.value)
    assert commits == ["commit"]
    await one.revoke(issued.key.id)
    assert (await one.get(issued.key.id)).revoked_at is not None


# ---- how the statements run ---------------------------------------------------------------------


def explain(engine, statement, digest):
    prefix = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    compiled = statement.params(digest=digest).compile(
        engine, compile_kwargs={"literal_binds": True}
    )
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # With few rows it would read them all; the question is what it does with many.
            connection.exec_driver_sql("SET enable_seqscan = off")
        rows = connection.exec_driver_sql(prefix + str(compiled)).all()
    return "\n".join(str(row) for row in rows)


@pytest.mark.parametrize("statement", [sql.FIND, sql.DIGEST_KNOWN], ids=["find", "known"])
def test_secrets_are_found_by_their_unique_indexes(database_url, statement):
    with KeyService(database_url) as keys:
        keys.migrate()
    engine = make_engine(parse_url(database_url), Settings())
    plan = explain(engine, statement, b"\x01" * 32)
    engine.dispose()
    if engine.dialect.name == "sqlite":
        assert "SCAN" not in plan
        assert "SEARCH keymw_keys USING" in plan
        assert "(digest=?)" in plan
    else:
        assert "Seq Scan" not in plan
        assert "keymw_keys_digest_key" in plan
        assert "keymw_retired_secrets_pkey" in plan


async def test_sqlite_is_set_up_for_several_processes(sqlite_url):
    async with open_store("inline-sqlite", sqlite_url) as store:

        def look(connection):
            names = ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

        assert await store._run.read(look) == [
            "wal",
            2000,
            1,
            2,
        ]  # FULL: a power cut loses no commit
