"""The tables: made once, by whoever comes first, as `store/schema.py` says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, insert, inspect

from keymw import KeyService, Settings
from keymw._step import run_now
from keymw.errors import NotMigrated, StoreUnavailable
from keymw.store.engines import make_engine, parse_url
from keymw.store.migrate import _ADVISORY_LOCK, _upgrade
from keymw.store.rows import to_row
from keymw.store.schema import VERSION_TABLE, metadata
from keymw.tokens import digest_of, generate
from stores import RUNNERS, database_of, new_digest, open_store, project_key, update

_MIGRATE = """
import sys
from keymw import KeyService

print("ready", flush=True)
sys.stdin.readline()
with KeyService(sys.argv[1]) as keys:
    keys.migrate()
    keys.issue_project_key("2", sys.argv[2], ["endpoint:read"])
"""


@pytest.fixture
def engine(database_url):
    with KeyService(database_url) as keys:
        keys.migrate()
    made = make_engine(parse_url(database_url), Settings())
    yield made
    made.dispose()


def constraints(inspector, table):
    return {
        "columns": {
            (column["name"], str(column["type"]), column["nullable"])
            for column in inspector.get_columns(table)
        },
        "key": inspector.get_pk_constraint(table)["constrained_columns"],
        "unique": {tuple(c["column_names"]) for c in inspector.get_unique_constraints(table)},
        "foreign": {
            (*c["constrained_columns"], c["referred_table"], *c["referred_columns"])
            for c in inspector.get_foreign_keys(table)
        },
        "indexes": {
            (index["name"], tuple(index["column_names"]), bool(index["unique"]))
            for index in inspector.get_indexes(table)
        },
        "partial": {
            index["name"]: str(index["dialect_options"].get(f"{inspector.dialect.name}_where"))
            for index in inspector.get_indexes(table)
        },
        "checks": {
            (check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)
        },
    }


def test_migrated_tables_are_those_of_the_schema(engine):
    with engine.connect() as connection:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: (kind, name) != ("table", VERSION_TABLE),
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_migrated_tables_are_those_that_the_schema_makes(engine):
    """Compared by what the database says, which knows more than Alembic compares."""
    with engine.connect() as connection:
        inspector = inspect(connection)
        tables = sorted(metadata.tables)
        assert sorted(inspector.get_table_names()) == sorted([*tables, VERSION_TABLE])
        migrated = {table: constraints(inspector, table) for table in tables}
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
        metadata.drop_all(connection)
        metadata.create_all(connection)
        inspector = inspect(connection)
        assert {table: constraints(inspector, table) for table in tables} == migrated
    assert "revoked_at IS NULL" in migrated["keymw_keys"]["partial"]["keymw_keys_label"]


@pytest.mark.parametrize("name", RUNNERS)
async def test_a_second_run_changes_nothing(name, request):
    async with open_store(name, database_of(name, request)) as store:
        digest = new_digest()
        await store.insert(project_key(), digest, "created", None)
        secret = await store.signing_keys()
        await store.migrate()
        assert (await store.find(digest)).key_id == "k1"
        assert await store.signing_keys() == secret
        assert await store.position() == 1


def test_an_older_database_is_not_changed_before_it_is_migrated(database_url):
    """As it is while a new release runs beside one that has not migrated yet."""
    token, now = generate("phs_"), datetime.now(UTC)
    engine = make_engine(parse_url(database_url), Settings())
    with engine.connect() as connection:
        _upgrade(connection, "0001")
        row = {**to_row(project_key(created_at=now)), "digest": digest_of(token)}
        connection.execute(insert(metadata.tables["keymw_keys"]), row)
        connection.commit()
    engine.dispose()
    with KeyService(database_url) as keys:
        for change in (keys.roll, keys.revoke, keys.get):
            with pytest.raises(NotMigrated, match="keymw migrate"):
                change("k1")
        assert keys.verify(token).principal.key_id == "k1"
        keys.migrate()
        rolled = keys.roll("k1", grace=timedelta(hours=1))
        assert [each.mask for each in keys.get("k1").retired] == [project_key().mask]
        assert keys.verify(rolled.token).principal.key_id == "k1"
        assert [event.action for event in keys.history(key_id="k1")] == ["rolled"]


@pytest.mark.parametrize("name", RUNNERS)
async def test_the_timeouts_hold_again_after_a_migration(name, request):
    asked, told = ("PRAGMA busy_timeout", 250)
    if name.endswith("postgresql"):
        asked, told = ("SHOW statement_timeout", "250ms")
    settings = Settings(store_timeout=0.25)
    async with open_store(name, database_of(name, request), settings) as store:
        answer = await store._run.read(
            lambda connection: connection.exec_driver_sql(asked).scalar_one()
        )
        assert answer == told


def test_processes_migrate_at_once(database_url):
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _MIGRATE, database_url, f"label {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    errors = [child.communicate(timeout=60)[1] for child in children]
    assert errors == [""] * 4
    with KeyService(database_url) as keys:
        assert len(keys.list(project_id="2")) == 4
        assert len(run_now(keys._deps().store.signing_keys())) == 1


@pytest.mark.parametrize("name", RUNNERS)
async def test_a_database_without_tables_says_so(name, request):
    async with open_store(name, database_of(name, request), migrated=False) as store:
        calls = [
            lambda: store.find(new_digest()),
            lambda: store.get("k1"),
            lambda: store.list(project_id=None, user_id=None, include_revoked=True),
            lambda: store.insert(project_key(), new_digest(), "created", None),
            lambda: store.change("k1", update()),
            lambda: store.history(key_id=None, project_id=None, user_id=None, limit=1),
            lambda: store.feed(0, 1),
            store.position,
            store.signing_keys,
        ]
        for call in calls:
            with pytest.raises(NotMigrated, match="run `keymw migrate`"):
                await call()
        await store.migrate()
        assert await store.position() == 0


@pytest.mark.parametrize("table", ["keymw_counter", "keymw_signing_keys"])
def test_a_database_that_lost_its_first_rows_says_so(engine, database_url, table):
    """Tables that somebody made without the migrations are no store yet."""
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DELETE FROM {table}")
    with KeyService(database_url) as keys:
        store = keys._deps().store
        calls = {
            "keymw_counter": [
                store.position,
                lambda: store.insert(project_key(), new_digest(), "created", None),
            ],
            "keymw_signing_keys": [store.signing_keys],
        }
        for call in calls[table]:
            with pytest.raises(NotMigrated):
                run_now(call())


def test_a_migration_that_fails_leaves_nothing(database_url):
    with KeyService(database_url) as keys:
        store = keys._deps().store

        def fail(connection, cursor, statement, *rest):
            if "keymw_signing_keys" in statement:
                raise OSError("the plug was pulled")

        event.listen(store._run._engine, "before_cursor_execute", fail)
        with pytest.raises(StoreUnavailable, match="the plug was pulled"):
            keys.migrate()
        event.remove(store._run._engine, "before_cursor_execute", fail)
        with store._run._engine.connect() as connection:
            assert inspect(connection).get_table_names() == []
        keys.migrate()
        assert run_now(store.position()) == 0


@pytest.mark.parametrize("name", RUNNERS)
def test_a_migration_waits_as_long_as_another_takes(name, request):
    """Longer than a request would: `store_timeout` is not for migrations."""
    url = database_of(name, request)
    settings = Settings(store_timeout=0.05)
    waits = []

    async def migrate():
        async with open_store(name, url, settings):
            pass

    with ThreadPoolExecutor(1) as pool:
        if "sqlite" in name:
            other = make_engine(parse_url(url), settings)
            with other.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                waits.append(pool.submit(asyncio.run, migrate()))
                assert_waits(waits[0])
                connection.rollback()
            other.dispose()
        else:
            with psycopg.connect(url) as connection:
                connection.execute(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
                waits.append(pool.submit(asyncio.run, migrate()))
                assert_waits(waits[0])
                connection.rollback()
        waits[0].result(10)


def assert_waits(future):
    with pytest.raises(TimeoutError):
        future.result(0.5)


async def test_a_database_in_memory_lives_in_the_service():
    async with open_store("threaded-sqlite", "sqlite://") as store:
        digest = new_digest()
        await store.insert(project_key(), digest, "created", None)
        found = await asyncio.gather(*(store.find(digest) for _ in range(20)))
        assert {record.key_id for record in found} == {"k1"}
