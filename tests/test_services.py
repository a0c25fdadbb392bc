"""Several services on one database, as several processes are: what one does, the others hear."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from datetime import timedelta
from functools import partial
from hashlib import sha256

import pytest

from conftest import eventually
from either import soon
from keymw import AsyncKeyService, KeyService, NotMigrated, Reason, Settings
from keymw.cache import codec
from keymw.store.sql import SqlStore
from keymw.tokens import generate

NEVER_POLLS = Settings(poll_interval=60.0, unacknowledged_bound=600.0, negative_max_age=600.0)
POLLS = Settings(poll_interval=0.05, negative_max_age=600.0)


@pytest.fixture(params=["redis", "feed"])
async def pair(request, services, sqlite_url):
    """Two services that listen; either only Redis or only the store's feed can tell them."""
    if request.param == "redis":
        options = {"redis": request.getfixturevalue("redis_url"), "settings": NEVER_POLLS}
    else:
        options = {"settings": POLLS}
    first, second = services(sqlite_url, **options), services(sqlite_url, **options)
    await first.migrate()
    for service in (first, second):
        await service.listening()
    return first, second


async def becomes(service, token, reason):
    async def same():
        return await service.reason(token) is reason

    await soon(same)


CHANGES = {
    "revoke": (lambda one, key: one.revoke(key), Reason.REVOKED),
    "roll": (lambda one, key: one.roll(key), Reason.ROLLED),
    "deactivate": (lambda one, _: one.deactivate_user("ann"), Reason.OWNER_INACTIVE),
}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
async def test_what_one_ends_the_other_refuses(pair, change, reason):
    one, other = pair
    issued = await one.personal_key()
    for service in pair:
        assert await service.reason(issued.token) is None
    told = await change(one, issued.key.id)
    assert await one.reason(issued.token) is reason
    await becomes(other, issued.token, reason)
    told = getattr(told, "propagation", told)
    assert told.acknowledged is (one.deps.shared is not None)


async def test_a_roll_whose_new_secret_is_used_before_its_message_arrives(pair):
    one, other = pair
    issued = await one.project_key()
    assert await other.reason(issued.token) is None
    rolled = await one.roll(issued.key.id)
    assert await other.reason(rolled.token) is None
    await becomes(other, issued.token, Reason.ROLLED)
    assert await other.reason(rolled.token) is None


async def test_what_one_gives_the_other_accepts(pair):
    one, other = pair
    issued = await one.personal_key()
    await one.deactivate_user("ann")
    assert await other.reason(issued.token) is Reason.OWNER_INACTIVE
    await one.activate_user("ann")
    await becomes(other, issued.token, None)
    token = generate("phs_")
    assert await other.reason(token) is Reason.INVALID
    digest = sha256(token.encode()).hexdigest()
    await one.import_key("project_secret", digest, "x", ["other:read"], project_id="2")
    await becomes(other, token, None)


@pytest.mark.parametrize("last", ["activate_user", "deactivate_user"])
async def test_what_comes_in_the_wrong_order_ends_as_it_did(services, sqlite_url, redis_url, last):
    """Nobody is told of some changes until all have been made; then of the last one first."""
    one, other = (
        services(sqlite_url, redis=url, settings=NEVER_POLLS) for url in (None, redis_url)
    )
    await one.migrate()
    issued = await one.personal_key()
    await other.listening()
    assert await other.reason(issued.token) is None
    seen = other.service._local.progress[0]
    for change in ("deactivate_user", "activate_user", "deactivate_user"):
        await getattr(one, change)("ann")
        if change == last == "activate_user":
            break
    _, changes = await one.deps.store.feed(seen, 10)
    assert len(changes) == (2 if last == "activate_user" else 3)
    expected = None if last == "activate_user" else Reason.OWNER_INACTIVE
    for change in reversed(changes):
        generation = other.service._local.generation
        message = codec.encode_change(change, other.deps.signing_keys)
        assert await other.deps.shared.publish((), message)
        await soon(lambda before=generation: other.service._local.generation > before)
        await becomes(other, issued.token, expected)
    assert other.service._local.progress[0] == seen + len(changes)


# ---- messages that a process cannot read ------------------------------------------------------


async def hears_soon(service, token):
    """Wait for a refusal, for less than the bound of what Redis has acknowledged."""

    async def refused():
        return await service.reason(token) is Reason.REVOKED

    await soon(refused, patience=0.9)


async def test_what_is_signed_with_a_newer_key_is_heard(
    services, migrated_url, redis_url, monkeypatch
):
    make = partial(services, migrated_url, redis=redis_url, settings=NEVER_POLLS)
    one = make()
    issued, another = [await one.project_key() for _ in range(2)]
    await one.listening()
    with sqlite3.connect(migrated_url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "INSERT INTO keymw_signing_keys (id, secret, created_at)"
            " SELECT max(id) + 1, ?, max(created_at) FROM keymw_signing_keys",
            [os.urandom(32)],
        )
    connection.close()
    other = make()
    for key in (issued, another):
        assert await one.reason(key.token) is None
    assert (await other.revoke(issued.key.id)).acknowledged
    assert other.deps.signing_keys[:-1] == one.deps.signing_keys
    await hears_soon(one, issued.token)
    # From now on it knows that key too, and need not ask the store what a message says.
    feed, asked = SqlStore.feed, []

    async def ask(self, after, limit):
        asked.append(after)
        return await feed(self, after, limit)

    monkeypatch.setattr(SqlStore, "feed", ask)
    assert await one.reason(another.token) is None
    await other.revoke(another.key.id)
    await hears_soon(one, another.token)
    assert asked == []


@pytest.mark.parametrize("damage", ["newer", "stranger", "empty"])
async def test_what_cannot_be_read_has_the_store_asked(services, migrated_url, redis_url, damage):
    """A change that another keymw may have told in its own way; the store has it in any case."""
    one, silent = (
        services(migrated_url, redis=url, settings=NEVER_POLLS) for url in (redis_url, None)
    )
    issued = await one.project_key()
    await one.listening()
    assert await one.reason(issued.token) is None
    seen = one.service._local.progress[0]
    await silent.revoke(issued.key.id)
    _, (change,) = await silent.deps.store.feed(seen, 10)
    readable = codec.encode_change(change, one.deps.signing_keys)
    assert readable.startswith(b"c1.")
    message = {"newer": b"c2." + readable[3:], "stranger": b"c1." + os.urandom(64), "empty": b""}
    assert await one.deps.shared.publish((), message[damage])
    await hears_soon(one, issued.token)


async def test_changed_scopes_and_labels_arrive(pair):
    one, other = pair
    issued = await one.project_key()
    await other.verify(issued.token)
    await one.update(issued.key.id, scopes=["other:write"], label="new")

    async def same():
        principal = (await other.verify(issued.token)).principal
        return (principal.scopes, principal.label) == ({"other:write"}, "new")

    await soon(same)


async def test_one_process_reads_the_store_and_the_others_redis(services, sqlite_url, redis_url):
    make = partial(services, sqlite_url, redis=redis_url, settings=NEVER_POLLS)
    one, other = make(), make()
    await one.migrate()
    issued = await one.project_key()
    for service in (one, other):
        await service.listening()
    refusals = one.service.stats().l1_negative_size
    assert await one.counted(one.verify(issued.token)) == {"store_reads": 1}
    assert await one.counted(one.verify(issued.token)) == {"l1_hits": 1}
    assert await other.counted(other.verify(issued.token)) == {"l2_hits": 1}
    assert await other.counted(other.verify(issued.token)) == {"l1_hits": 1}
    token = generate("phs_")
    assert await other.counted(other.verify(token)) == {"store_reads": 1}
    assert await other.counted(other.verify(token)) == {"l1_negative_hits": 1}
    assert await one.counted(one.verify(token)) == {"store_reads": 1}  # refusals stay at home
    assert (one.service.stats().store_errors, one.service.stats().l2_errors) == (0, 0)
    assert one.service.stats().l1_size == 1
    assert one.service.stats().l1_negative_size == refusals + 1
    invalidations = other.service.stats().invalidations
    await one.revoke(issued.key.id)
    await soon(lambda: other.service.stats().invalidations > invalidations)
    assert other.service.stats().l1_size == 0


async def test_two_at_once_cannot_take_one_label(services, database_url):
    pair = [services(database_url), services(database_url)]
    await pair[0].migrate()

    def issue(service):
        return asyncio.run(service.issue_project_key("2", "deploy", ["other:read"]))

    if isinstance(pair[0].service, KeyService):
        results = await asyncio.gather(
            *(asyncio.to_thread(issue, service) for service in pair), return_exceptions=True
        )
    else:
        results = await asyncio.gather(
            *(service.issue_project_key("2", "deploy", ["other:read"]) for service in pair),
            return_exceptions=True,
        )
    assert sorted(type(result).__name__ for result in results) == ["IssuedKey", "LabelTaken"]
    assert len(await pair[0].history()) == 1


# ---- life of a service ------------------------------------------------------------------------


async def test_a_closed_service_may_be_used_again(services, sqlite_url, redis_url):
    service = services(sqlite_url, redis=redis_url, settings=NEVER_POLLS)
    await service.close()
    await service.migrate()
    issued = await service.project_key()
    for _ in range(2):
        await service.listening()
        assert await service.reason(issued.token) is None
        await service.close()
        assert service.service.stats().l1_size == 0
        await service.close()
    await service.revoke(issued.key.id)
    assert await service.reason(issued.token) is Reason.REVOKED


@pytest.mark.parametrize("database", ["sqlite", "memory", "postgresql"])
@pytest.mark.parametrize("with_redis", [True, False])
def test_an_asynchronous_service_outlives_its_loops(request, database, with_redis, redis_url):
    url = "sqlite://"
    if database != "memory":
        url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "postgres_url")
    keys = AsyncKeyService(url, redis=redis_url if with_redis else None)

    async def issue():
        await keys.migrate()
        await keys.start()
        issued = await keys.issue_project_key("2", "x", ["other:read"])
        await keys.verify(issued.token)
        return issued

    async def verify(token):
        return getattr(await keys.verify(token), "reason", None)

    async def revoke(key):
        await keys.revoke(key)

    async def close():
        await keys.list()
        await keys.aclose()

    issued = asyncio.run(issue())
    assert keys._loops == {}
    assert asyncio.run(verify(issued.token)) is None
    asyncio.run(revoke(issued.key.id))
    assert asyncio.run(verify(issued.token)) is Reason.REVOKED
    asyncio.run(close())
    assert keys._loops == {}


def test_a_loop_that_never_used_the_service_can_close_it(migrated_url):
    earlier = set(threading.enumerate())

    def stores_threads():
        new = set(threading.enumerate()) - earlier
        return [each.name for each in new if each.name.startswith("keymw-store")]

    keys = AsyncKeyService(migrated_url)
    asyncio.run(keys.verify(generate("phs_")))
    assert stores_threads() != []
    asyncio.run(keys.aclose())
    assert keys._sqlite is None
    eventually(lambda: stores_threads() == [])


async def test_two_loops_at_once_share_one_service(sqlite_url, redis_url):
    async with AsyncKeyService(sqlite_url, redis=redis_url) as keys:
        await keys.migrate()
        issued = await keys.issue_project_key("2", "x", ["other:read"])

        def elsewhere():
            async def use():
                assert await keys.verify(issued.token)
                await keys.aclose()

            asyncio.run(use())

        for _ in range(3):
            await asyncio.to_thread(elsewhere)
            keys._local.clear()
            assert getattr(await keys.verify(issued.token), "reason", None) is None
            await keys.list()


def test_from_several_threads(keys):
    tokens = [keys.issue_project_key("2", f"k{n}", ["other:read"]).token for n in range(8)]
    tokens += [generate("phs_") for _ in range(8)]
    failures = []

    def work(number):
        for step in range(60):
            place = (number + step) % len(tokens)
            refused = getattr(keys.verify(tokens[place]), "reason", None)
            if (refused is None) is not (place < 8):
                failures.append((place, refused))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


async def test_a_change_whose_caller_gives_up_is_finished(sqlite_url):
    async with AsyncKeyService(sqlite_url) as keys:
        await keys.migrate()
        issued = await keys.issue_project_key("2", "x", ["other:read"])
        await keys.verify(issued.token)
        revoking = asyncio.create_task(keys.revoke(issued.key.id))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        revoking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await revoking

        async def refused():
            return getattr(await keys.verify(issued.token), "reason", None) is Reason.REVOKED

        await soon(refused)


async def test_closing_waits_for_a_change_in_flight(sqlite_url):
    keys = AsyncKeyService(sqlite_url)
    await keys.migrate()
    issued = await keys.issue_project_key("2", "x", ["other:read"])
    revoking = asyncio.create_task(keys.revoke(issued.key.id))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await keys.aclose()
    assert (await revoking).bound == timedelta(seconds=5)
    async with keys:
        assert (await keys.get(issued.key.id)).revoked_at is not None


async def test_starting_says_that_tables_are_missing_and_bears_an_outage(tmp_path, sqlite_url):
    async with AsyncKeyService(sqlite_url) as keys:
        with pytest.raises(NotMigrated):
            await keys.start()
    async with AsyncKeyService(f"sqlite:///{tmp_path}/no/such/folder/k.db") as keys:
        await keys.start()
        assert keys.stats().store_errors >= 1


def test_a_blocking_service_refuses_what_suspends():
    from keymw._step import run_now

    async def suspends():
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="suspended"):
        run_now(suspends())
