"""A database ends in the middle of an import, or somebody else is in its way."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from conftest import eventually
from keymw import KeyService, Settings
from keymw.errors import StoreUnavailable
from keymw.store import staged_checks, staged_copy, staging
from keymw.tokens import digest, generate
from proxies import silent_proxy

#: At which statement it happens: in front of it, and of a commit.
STEPS = {
    "staging": staging._STAGE,
    "checking": staged_checks._COUNTS,
    "copying keys": staged_copy._COPY_KEYS,
    "copying events": staged_copy._COPY_EVENTS,
    "taking the counter": staged_copy._MOVE,
    "at the end": staged_copy._LAST,
}
BACKENDS = "FROM pg_stat_activity WHERE application_name = 'keymw' AND datname = current_database()"
NOTHING = r"^The database cannot answer: .* Nothing was stored: repeat it then\.$"
UNKNOWN = r"It is not known whether the keys were stored: repeat it\.$"


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    """Have a few keys imported as many are: the counter is taken last."""
    monkeypatch.setattr(staged_copy, "_SMALL", 0)


def rows(*labels):
    return [
        {
            "kind": "project_secret",
            "project": "2",
            "label": label,
            "digest": f"sha256${digest(generate('phs_').encode()).hex()}",
            "scopes": ["endpoint:read"],
        }
        for label in labels
    ]


def at(monkeypatch, statement, happens, *, afterwards=False):
    """Let something happen, once, in front of a statement or after it."""
    execute, left = staged_copy.Connection.execute, [happens]

    def watched(self, executed, *arguments, **options):
        is_it = executed is statement and left
        if is_it and not afterwards:
            left.pop()()
        result = execute(self, executed, *arguments, **options)
        if is_it and afterwards:
            left.pop()()
        return result

    monkeypatch.setattr(staged_copy.Connection, "execute", watched)


def terminate(url):
    """End the connections of all services to the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(f"SELECT pg_terminate_backend(pid, 10000) {BACKENDS}").fetchall()
    assert ended


def crash(url):
    """Kill a process of the server's, upon which that ends all others, and recovers."""
    with psycopg.connect(url, autocommit=True) as connection:
        (pid,) = connection.execute(f"SELECT pid {BACKENDS}").fetchone()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(60)")


def takes_queries(url):
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url).close()
        return True
    return False


async def imported_at_last(service, file):
    """Repeat an import that was in vain, and see that each key is there once."""
    done = await service.import_keys(file)
    assert (done.stored, done.new + done.known, done.rejected) == (True, len(file), 0)
    assert sorted(key.label for key in await service.list()) == [row["label"] for row in file]
    assert [event.action for event in await service.history()] == ["imported"] * len(file)
    return done


@pytest.mark.parametrize("step", STEPS)
async def test_connections_that_are_ended(services, postgres_url, monkeypatch, step):
    service = services(postgres_url)
    await service.migrate()
    at(monkeypatch, STEPS[step], lambda: terminate(postgres_url))
    file = rows("a", "b", "c")
    with pytest.raises(StoreUnavailable, match=NOTHING) as raised:
        await service.import_keys(file)
    assert "start it, or wait until it is back" in str(raised.value)
    done = await imported_at_last(service, file)
    assert done.new == 3


async def test_a_server_that_crashes(services, postgres_url, monkeypatch):
    service = services(postgres_url)
    await service.migrate()
    at(monkeypatch, STEPS["taking the counter"], lambda: crash(postgres_url))
    file = rows("a", "b", "c")
    with pytest.raises(StoreUnavailable, match=NOTHING):
        await service.import_keys(file)
    eventually(lambda: takes_queries(postgres_url), patience=30)
    assert (await imported_at_last(service, file)).new == 3


async def test_a_connection_that_is_ended_while_the_file_is_read(services, postgres_url):
    service = services(postgres_url)
    await service.migrate()
    file = rows("a", "b", "c")

    def read():
        yield from file
        terminate(postgres_url)

    with pytest.raises(StoreUnavailable, match=NOTHING):
        await service.import_keys(read())
    assert (await imported_at_last(service, file)).new == 3


async def test_a_commit_that_never_was(services, postgres_url, monkeypatch):
    service = services(postgres_url)
    await service.migrate()
    at(monkeypatch, staged_copy._LAST, lambda: terminate(postgres_url), afterwards=True)
    file = rows("a", "b", "c")
    with pytest.raises(StoreUnavailable, match=UNKNOWN):
        await service.import_keys(file)
    assert (await imported_at_last(service, file)).new == 3


async def test_a_commit_of_which_nobody_has_heard(services, postgres_url, monkeypatch):
    with silent_proxy(postgres_url) as (proxy, through):
        service = services(through)
        await service.migrate()
        at(monkeypatch, staged_copy._LAST, proxy.hang_up, afterwards=True)
        file = rows("a", "b", "c")
        with pytest.raises(StoreUnavailable, match=UNKNOWN):
            await service.import_keys(file)
        proxy.speak()
        assert (await imported_at_last(service, file)).known == 3
        await service.close()


async def test_a_deadlock_is_tried_again(services, postgres_url, monkeypatch):
    """Somebody has the counter and wants a label that the import has already."""
    service = services(f"{postgres_url}&options=-c%20deadlock_timeout%3D50ms")
    await service.migrate()
    taken = rows("taken")[0]
    statement = (
        "INSERT INTO keymw_keys (id, kind, project_id, label, mask, digest, scopes, version,"
        " created_at) VALUES ('key_0', 'project_secret', '2', 'taken', '', %s, 'a:read', 1, now())"
    )
    with psycopg.connect(postgres_url) as other, psycopg.connect(postgres_url) as looking:
        # It never finds out that it is in a deadlock: the import does.
        other.execute("SET deadlock_timeout = '10min'")
        looking.autocommit = True

        def issue():
            other.execute(statement, [bytes.fromhex(taken["digest"][7:])])
            other.commit()

        thread = threading.Thread(target=issue)

        def is_waiting():
            asked = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
            return looking.execute(asked, [other.info.backend_pid]).fetchone() == ("Lock",)

        def get_in_the_way():
            other.execute("UPDATE keymw_counter SET value = value + 1 WHERE name = 'events'")
            thread.start()
            eventually(is_waiting)

        at(monkeypatch, staged_copy._MOVE, get_in_the_way)
        done = await service.import_keys(rows("free", "taken"), partial=True)
        thread.join()
    assert (done.stored, done.new, done.rejected) == (True, 1, 1)
    assert done.rejections[0].reason == "the project already has a key with this label."
    assert {key.label for key in await service.list()} == {"free", "taken"}


async def test_a_large_import_that_another_has_come_past(services, postgres_url, monkeypatch):
    service = services(postgres_url)
    await service.migrate()
    monkeypatch.setattr(staged_copy, "_ROOM", 10)

    def come_past():
        monkeypatch.setattr(staged_copy, "_ROOM", 1000)
        with KeyService(postgres_url) as other:
            assert other.import_keys(rows("c", "d")).new == 2

    at(monkeypatch, staged_copy._MOVE, come_past)
    assert (await service.import_keys(rows("a", "b"))).new == 2
    log = await service.history()
    assert [event.seq for event in log] == [2004, 2003, 1002, 1001]
    assert [event.after["label"] for event in log] == ["b", "a", "d", "c"]


@pytest.fixture
def held(migrated_url, monkeypatch):
    """Somebody has SQLite's lock when an import wants it, until a function says something else."""
    execute, wanted = staging.Connection.exec_driver_sql, []
    with contextlib.closing(
        sqlite3.connect(migrated_url.removeprefix("sqlite:///"), isolation_level=None)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        hold = [lambda: None, lambda: None, other.rollback]

        def watched(self, statement):
            if statement == "BEGIN IMMEDIATE":
                hold[len(wanted)]()
                wanted.append(statement)
            return execute(self, statement)

        monkeypatch.setattr(staging.Connection, "exec_driver_sql", watched)
        yield hold


def test_sqlites_lock_is_waited_for_longer_than_a_change_waits(migrated_url, held):
    with KeyService(migrated_url, settings=Settings(store_timeout=0.05)) as keys:
        assert keys.import_keys(rows("a", "b")).new == 2
        assert len(keys.list()) == 2


def test_whoever_waits_for_sqlites_lock_can_be_stopped(migrated_url, held):
    def stop():
        raise KeyboardInterrupt

    held[1] = stop
    with KeyService(migrated_url, settings=Settings(store_timeout=0.05)) as keys:
        with pytest.raises(KeyboardInterrupt):
            keys.import_keys(rows("a", "b"))
        assert keys.list() == []


def test_a_disk_that_fails(migrated_url, held):
    def forbid():
        raise OperationalError("", {}, sqlite3.OperationalError("disk I/O error"))

    held[0] = forbid
    with (
        KeyService(migrated_url) as keys,
        pytest.raises(StoreUnavailable, match=r"make room where its file is\. Nothing was stored"),
    ):
        keys.import_keys(rows("a"))
