"""Several services on one database, as several processes are: what one does, the others hear."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from datetime import timedelta
from functools import partial
from hashlib import sha256

import pytest

from either import soon
from keymw import (
    AsyncKeyService,
    KeyService,
    Reason,
    Settings,
)
from keymw.tokens import generate

NEVER_POLLS = Settings(poll_interval=60.0, unacknowledged_bound=600.0)
POLLS = Settings(poll_interval=0.05)


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


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "keymw"]


@pytest.mark.parametrize("with_redis", [True, False])
def test_close_ends_the_thread_at_once_and_says_nothing(sqlite_url, redis_url, with_redis, caplog):
    redis = redis_url if with_redis else None
    with KeyService(sqlite_url, redis=redis, settings=NEVER_POLLS) as keys:
        keys.migrate()
        keys.verify(generate("phs_"))
        (follower,) = threads()
        if with_redis:
            cache = keys._deps().shared
            while cache._cursor is None:
                follower.join(0.01)
    assert not follower.is_alive()
    assert threads() == []
    assert caplog.messages == []


def test_a_follower_that_died_is_followed_by_another(keys):
    keys.verify(generate("phs_"))
    (first,) = threads()
    keys._stopping.set()
    first.join()
    keys.verify(generate("phs_"))
    (second,) = threads()
    assert second is not first


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


async def test_closing_survives_a_cancellation_that_gets_lost(sqlite_url):
    """`asyncio.wait_for`, which clients use, may lose one before Python 3.12."""
    keys = AsyncKeyService(sqlite_url)
    await keys.migrate()
    store = keys._deps().store
    lost = asyncio.Event()

    async def loses_one():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            lost.set()
        return 0

    store.position = loses_one
    await keys.verify(generate("phs_"))
    await soon(lambda: keys._loop().keeper.get_coro().cr_await is not None)
    keeper = keys._loop().keeper
    await asyncio.wait_for(keys.aclose(), 5)
    assert lost.is_set()
    assert keeper.done()


def test_a_loop_ends_although_a_cancellation_gets_lost(sqlite_url):
    keys = AsyncKeyService(sqlite_url, settings=POLLS)

    async def use():
        await keys.migrate()
        store = keys._deps().store

        async def loses_one(*_):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.5)
            return []

        store.feed = loses_one
        await keys.verify(generate("phs_"))
        await soon(lambda: keys._local.generation)
        await asyncio.sleep(0.1)

    asyncio.run(use())
    assert keys._loops == {}


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


FORK = """
import os, sys
from keymw import Granted, KeyService

database, redis, token = sys.argv[1:]
keys = KeyService(database, redis=redis or None)
for other in (keys, KeyService(database)):  # one used, one not
    if other is keys:
        assert isinstance(keys.verify(token), Granted)
    child = os.fork()
    if not child:
        assert keys.stats().l1_size == 0 and keys.stats().store_reads == 0
        assert keys._follower is None
        for _ in range(20):
            assert isinstance(keys.verify(token), Granted)
            keys._local.clear()
        keys.issue_project_key("child", f"c{os.getpid()}", ["other:read"])
        assert keys._follower.is_alive()
        sys.exit(7)  # the ordinary way, with everything that is done at exit
    for _ in range(20):
        keys._local.clear()
        assert isinstance(keys.verify(token), Granted)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    keys._local.clear()
    assert isinstance(keys.verify(token), Granted)
assert len(keys.list(project_id="child")) == 2
keys.close()
print("unharmed")
"""


@pytest.mark.parametrize("with_redis", [True, False])
def test_a_forked_child_starts_anew_and_leaves_its_parent_alone(
    database_url, redis_url, with_redis
):
    with KeyService(database_url) as keys:
        keys.migrate()
        token = keys.issue_project_key("2", "x", ["other:read"]).token
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORK),
            *(database_url, redis_url if with_redis else "", token),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    assert (done.stdout, done.stderr, done.returncode) == ("unharmed\n", "", 0)


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
    assert (await revoking).bound == timedelta(seconds=30)
    async with keys:
        assert (await keys.get(issued.key.id)).revoked_at is not None


async def test_starting_says_that_tables_are_missing_and_bears_an_outage(tmp_path, sqlite_url):
    from keymw import NotMigrated

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
