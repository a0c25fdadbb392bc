"""When keys were last used: noted off the request's way, only forward, and told to nobody."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from conftest import eventually
from either import soon
from keymw import KeyService, Settings
from keymw.ports import Use
from keymw.store.engines import parse_url
from stores import NOW, RUNNERS, database_of, new_digest, open_store, project_key, roll

QUICK = Settings(last_used_interval=0.05)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", *RUNNERS])
async def store(request):
    url = None if request.param == "memory" else database_of(request.param, request)
    async with open_store(request.param, url) as opened:
        yield opened


# ---- the store ---------------------------------------------------------------------------------


async def test_only_forward(store):
    digest = new_digest()
    await store.insert(project_key(), digest, "issued", None)
    for at, expected in ((NOW, NOW), (NOW - HOUR, NOW), (NOW + HOUR, NOW + HOUR)):
        assert list(await store.touch([Use("k1", digest, at)])) == []
        assert (await store.get("k1")).last_used_at == expected


async def test_a_use_is_no_change(store):
    digest = new_digest()
    await store.insert(project_key(), digest, "issued", None)
    before, position = await store.get("k1"), await store.position()
    await store.touch([Use("k1", digest, NOW)])
    after = await store.get("k1")
    assert (after.version, await store.position()) == (before.version, position)
    assert len(await store.history(key_id=None, project_id=None, user_id=None, limit=9)) == 1


async def test_unknown_keys_are_passed_over(store):
    assert list(await store.touch([Use("gone", new_digest(), NOW)])) == []


async def test_the_latest_of_many_counts(store):
    digest = new_digest()
    await store.insert(project_key(), digest, "issued", None)
    await store.touch([Use("k1", digest, NOW + HOUR), Use("k1", new_digest(), NOW)])
    assert (await store.get("k1")).last_used_at == NOW + HOUR


async def test_old_secrets_have_a_time_of_their_own(store):
    old, new = new_digest(), new_digest()
    await store.insert(project_key(), old, "issued", None)
    await store.touch([Use("k1", old, NOW)])
    await store.change("k1", roll(new))
    (retired,) = (await store.get("k1")).retired
    assert retired.last_used_at is None
    await store.touch([Use("k1", new, NOW + HOUR), Use("k1", old, NOW + HOUR / 2)])
    (retired,) = (await store.get("k1")).retired
    assert retired.last_used_at == NOW + HOUR / 2
    log = await store.history(key_id="k1", project_id=None, user_id=None, limit=9)
    assert [event.old_secret_last_used_at for event in log] == [NOW + HOUR / 2, None]
    assert (await store.get("k1")).last_used_at == NOW + HOUR


async def test_what_an_old_secret_was_used_for_before_is_no_news(store):
    """However late a process notes it, it says nothing of who still uses the old one."""
    old = new_digest()
    await store.insert(project_key(), old, "issued", None)
    await store.change("k1", roll(new_digest()))
    await store.touch([Use("k1", old, NOW)])
    key = await store.get("k1")
    assert (key.last_used_at, key.retired[0].last_used_at) == (NOW, None)


async def test_a_change_leaves_the_last_use_alone(postgres_url):
    """A use that is noted between a change's look at the row and its writing is not undone."""
    digest = new_digest()
    async with (
        open_store("inline-postgresql", postgres_url) as one,
        open_store("inline-postgresql", postgres_url) as other,
    ):
        await one.insert(project_key(), digest, "issued", None)

        def plan(key):
            job = threading.Thread(
                target=lambda: asyncio.run(other.touch([Use("k1", digest, NOW)]))
            )
            job.start()
            job.join()
            return roll(new_digest())(key)

        await one.change("k1", plan)
        assert (await one.get("k1")).last_used_at == NOW


@contextmanager
def holding(url, key_id):
    """Hold a key's row, as a change does."""
    engine = create_engine(parse_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(
            text("SELECT 1 FROM keymw_keys WHERE id = :id FOR UPDATE"), {"id": key_id}
        )
        yield
    engine.dispose()


async def test_an_old_secret_is_noted_with_its_key_or_not_at_all(postgres_url):
    async with open_store("inline-postgresql", postgres_url) as store:
        old = new_digest()
        await store.insert(project_key(), old, "issued", None)
        await store.change("k1", roll(new_digest()))
        uses = [Use("k1", old, NOW + HOUR)]
        with holding(postgres_url, "k1"):
            assert list(await store.touch(uses)) == ["k1"]
        assert (await store.get("k1")).retired[0].last_used_at is None
        assert list(await store.touch(uses)) == []
        assert (await store.get("k1")).retired[0].last_used_at == NOW + HOUR


@pytest.mark.parametrize("runner", ["inline-postgresql", "native-postgresql"])
async def test_nobody_waits_for_a_change(runner, postgres_url):
    async with open_store(runner, postgres_url) as store:
        digests = [new_digest(), new_digest()]
        for number, digest in enumerate(digests):
            await store.insert(project_key(f"k{number}", f"l{number}"), digest, "issued", None)
        uses = [Use(f"k{number}", digest, NOW) for number, digest in enumerate(digests)]
        with holding(postgres_url, "k0"):
            assert list(await store.touch(uses)) == ["k0"]
        assert (await store.get("k1")).last_used_at == NOW
        assert list(await store.touch(uses)) == []
        assert (await store.get("k0")).last_used_at == NOW


async def test_processes_do_not_block_one_another(database_url):
    runner = "inline-sqlite" if database_url.startswith("sqlite") else "inline-postgresql"
    async with open_store(runner, database_url) as store:
        digests = {f"k{number}": new_digest() for number in range(20)}
        for key_id, digest in digests.items():
            await store.insert(project_key(key_id, key_id), digest, "issued", None)
        orders = [list(digests.items()), list(reversed(digests.items()))]

        def work(order, start):
            async def run():
                async with open_store(runner, database_url, migrated=False) as own:
                    for turn in range(start, start + 40, 2):
                        at = NOW + timedelta(seconds=turn)
                        uses = [Use(key_id, digest, at) for key_id, digest in order]
                        busy = set(await own.touch(uses))
                        while busy:
                            uses = [use for use in uses if use.key_id in busy]
                            busy = set(await own.touch(uses))

            asyncio.run(run())

        await asyncio.gather(
            *(asyncio.to_thread(work, order, start) for start, order in enumerate(orders))
        )
        for key in await store.list(project_id=None, user_id=None, include_revoked=True):
            assert key.last_used_at == NOW + timedelta(seconds=39)


# ---- services ----------------------------------------------------------------------------------


async def last_used(service, key_id):
    return (await service.get(key_id)).last_used_at


async def test_uses_are_noted_in_time(services, database_url):
    service = services(database_url, settings=QUICK)
    await service.migrate()
    issued = await service.project_key()
    assert await last_used(service, issued.key.id) is None
    await service.verify(issued.token)
    await soon(lambda: last_used(service, issued.key.id))
    first = await last_used(service, issued.key.id)
    await service.verify(issued.token)

    async def is_later():
        return await last_used(service, issued.key.id) > first

    await soon(is_later)
    assert (await service.get(issued.key.id)).version == 1
    assert len(await service.history()) == 1


async def test_the_request_asks_nothing_for_it(services, database_url, clock):
    service = services(database_url, clock=clock)
    await service.migrate()
    await service.believing()
    issued = await service.project_key()
    await service.verify(issued.token)

    async def ask():
        for _ in range(50):
            clock.advance(0.01)
            await service.verify(issued.token)

    assert await service.counted(ask()) == {"l1_hits": 50}
    ((key_id, _, used_at),) = service.service._local.take_uses()
    assert (key_id, used_at) == (issued.key.id, clock.monotonic())
    assert service.service._local.take_uses() == []


async def test_closing_notes_what_is_left(services, database_url):
    service, reader = services(database_url), services(database_url)
    await service.migrate()
    issued = await service.project_key()
    rolled = await service.roll(issued.key.id, grace=HOUR)
    for token in (issued.token, rolled.token):
        await service.verify(token)
    await service.close()
    key = await reader.get(issued.key.id)
    assert key.last_used_at is not None
    assert key.retired[0].last_used_at is not None


async def test_refused_and_unknown_tokens_are_not_used(services, sqlite_url):
    service, reader = services(sqlite_url), services(sqlite_url)
    await service.migrate()
    issued = await service.project_key()
    await service.revoke(issued.key.id)
    await service.verify(issued.token)
    await service.find_by_token(issued.token)
    await service.close()
    assert await last_used(reader, issued.key.id) is None


async def test_a_database_in_memory(services):
    service = services("sqlite://")
    await service.migrate()
    issued = await service.project_key()
    await service.verify(issued.token)
    assert await last_used(service, issued.key.id) is not None
    assert (await service.list())[0].last_used_at is not None


async def test_uses_of_one_secret_take_the_room_of_one(services):
    service = services("sqlite://")
    await service.migrate()
    issued = await service.project_key()
    for _ in range(5):
        await service.verify(issued.token)
        service.service._local.clear()
    assert service.service._local.uses == 1


def test_what_is_being_changed_at_the_end_is_noted_after_it(postgres_url):
    with KeyService(postgres_url) as reader:
        reader.migrate()
        service = KeyService(postgres_url)
        issued = service.issue_project_key("2", "label", ["endpoint:read"])
        service.verify(issued.token)
        closing = threading.Thread(target=service.close)
        with holding(postgres_url, issued.key.id):
            closing.start()
            eventually(lambda: service._local.uses == 0)
        closing.join()
        assert reader.get(issued.key.id).last_used_at is not None


_LEAVES = """
import sys
from keymw import KeyService

keys = KeyService(sys.argv[1])
assert keys.verify(sys.stdin.readline().strip()).principal
"""


def test_a_process_that_ends_without_closing_notes_it_too(database_url):
    with KeyService(database_url) as reader:
        reader.migrate()
        issued = reader.issue_project_key("2", "label", ["endpoint:read"])
        subprocess.run(
            [sys.executable, "-W", "error", "-c", _LEAVES, database_url],
            input=issued.token,
            text=True,
            check=True,
            timeout=30,
        )
        assert reader.get(issued.key.id).last_used_at is not None


def test_what_cannot_be_written_at_the_end_is_said(sqlite_url, caplog):
    service = KeyService(sqlite_url)
    service.migrate()
    issued = service.issue_project_key("2", "label", ["endpoint:read"])
    service.verify(issued.token)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DROP TABLE keymw_retired_secrets")
    connection.close()
    service.close()
    assert "the last uses of keys (1) are lost" in caplog.text
