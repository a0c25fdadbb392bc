"""Many requests at once: none that starts after a change is fooled, and none waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import psycopg
import pytest

from either import soon
from keymw import Granted, KeyService, Reason, Settings
from keymw.cache.local import Entry
from keymw.tokens import generate

CAPPED = Settings(max_store_lookups=3, store_timeout=20.0)


class Crowd:
    """Asks a service from many sides at once: threads, or tasks of the running loop."""

    def __init__(self, service):
        self.service = service.service
        self.blocking = isinstance(self.service, KeyService)
        self._pool = ThreadPoolExecutor(32)

    def ask(self, token):
        """Start a lookup; returns what becomes its verdict."""
        if self.blocking:
            loop = asyncio.get_running_loop()
            return loop.run_in_executor(self._pool, self.service.verify, token)
        return asyncio.ensure_future(self.service.verify(token))

    def close(self):
        self._pool.shutdown()


@contextlib.contextmanager
def crowd_of(service):
    crowd = Crowd(service)
    try:
        yield crowd
    finally:
        crowd.close()


# ---- the cap on lookups in the database -------------------------------------------------------


@contextlib.contextmanager
def locked(url):
    """Hold every read of keys in PostgreSQL."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE keymw_keys IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.mark.parametrize("with_redis", [True, False])
async def test_lookups_beyond_the_cap_are_answered_503_at_once(
    services, postgres_url, redis_url, with_redis, caplog
):
    one = services(postgres_url, redis=redis_url if with_redis else None, settings=CAPPED)
    await one.migrate()
    warm, *cold = [await one.project_key() for _ in range(4)]
    await one.listening()
    assert await one.reason(warm.token) is None
    with crowd_of(one) as crowd:
        with locked(postgres_url):
            held = [crowd.ask(key.token) for key in cold]
            await soon(lambda: one.service._turns._value == 0)
            # Whoever wants the same keys waits with them and costs no turn.
            held += [crowd.ask(key.token) for key in cold]
            for token in [generate("phs_") for _ in range(10)]:
                assert (await crowd.ask(token)).reason is Reason.UNAVAILABLE
            assert isinstance(await crowd.ask(warm.token), Granted)
            assert not any(each.done() for each in held)
            (text,) = (text for text in caplog.messages if "503" in text)
            assert text.startswith("keymw: requests with API keys are answered 503: Too many keys")
            assert text.endswith("see max_store_lookups.")
        for verdict in await asyncio.gather(*held):
            assert isinstance(verdict, Granted)
    assert one.service._turns._value == CAPPED.max_store_lookups
    assert await one.reason(generate("phs_")) is Reason.INVALID


async def test_a_lookup_that_fails_gives_its_turn_back(services, migrated_url):
    one = services(migrated_url, settings=CAPPED)
    await one.listening()
    store = one.deps.store
    find = store.find

    async def defect(digest):
        raise ValueError("a defect")

    store.find = defect
    for _ in range(5):
        with pytest.raises(ValueError, match="a defect"):
            await one.verify(generate("phs_"))
    store.find = find
    assert await one.reason(generate("phs_")) is Reason.INVALID


# ---- requests that start after a change -------------------------------------------------------


@pytest.mark.parametrize("with_redis", [True, False])
async def test_what_starts_after_revoke_has_returned_is_refused(
    services, database_url, redis_url, with_redis
):
    """With lookups in flight all the time, for what L1 holds is forgotten again and again."""
    one = services(database_url, redis=redis_url if with_redis else None)
    await one.migrate()
    await one.listening()
    with crowd_of(one) as crowd:
        for _ in range(6):
            await revoke_amid(one, crowd)


async def revoke_amid(one, crowd):
    issued = await one.project_key()
    over, accepted, wrong, asked = threading.Event(), [], [], []

    async def keep_asking():
        while not over.is_set():
            started = time.monotonic()
            verdict = await crowd.ask(issued.token)
            asked.append(started)
            if isinstance(verdict, Granted):
                accepted.append(started)
            elif verdict.reason is not Reason.REVOKED:
                wrong.append(verdict)

    async def keep_forgetting():
        while not over.is_set():
            await asyncio.sleep(0)
            one.service._local.clear()

    tasks = [asyncio.create_task(work()) for work in [*[keep_asking] * 8, keep_forgetting]]
    await soon(lambda: len(accepted) > 8)
    if crowd.blocking:
        await asyncio.to_thread(one.service.revoke, issued.key.id)
    else:
        await one.service.revoke(issued.key.id)
    returned = time.monotonic()
    await soon(lambda: sum(started > returned for started in asked) > 8)
    over.set()
    await asyncio.gather(*tasks)
    assert wrong == []
    assert max(accepted) < returned


async def test_who_is_handed_an_answer_that_no_longer_counts_asks_again(services, migrated_url):
    """A change comes between the end of a lookup and the moment at which its caller goes on."""
    one = services(migrated_url)
    issued = await one.project_key()
    await one.listening()
    join, handed = one.service._join, []

    async def slowly(key):
        entry = await join(key)
        handed.append(type(entry.verdict))
        if len(handed) == 1:
            await one.revoke(issued.key.id)
        return entry

    one.service._join = slowly
    assert await one.reason(issued.token) is Reason.REVOKED
    assert len(handed) == 2
    assert handed[0] is Granted


async def given_by_another(one, token, *, is_older, change):
    """Ask for a key whose refusal comes from a flight, and a change just after the flight's end.

    Returns the reason that the request is given, and how many flights it took.
    """
    join, handed = one.service._join, []
    started = one.service._clock.monotonic()

    async def fly(key):
        entry = await join(key)
        handed.append(entry.verdict)
        if len(handed) > 1:
            return entry
        await change()
        if is_older:  # asked for before the request had begun
            until = started - 0.01 + one.service.settings.stream_lease
            return Entry(entry.verdict, entry.deadline, until, entry.entities, entry.position)
        return entry

    one.service._join = fly
    try:
        return await one.reason(token), len(handed)
    finally:
        one.service._join = join


async def test_a_refusal_that_is_older_than_the_request_and_a_change_is_not_given(
    services, migrated_url
):
    one = services(migrated_url)
    await one.listening()
    unknown, personal = generate("phs_"), await one.personal_key()
    await one.deactivate_user("ann")

    async def import_it():
        digest = sha256(unknown.encode()).hexdigest()
        await one.import_key("project_secret", digest, "x", ["other:read"], project_id="2")

    async def activate():
        await one.activate_user("ann")

    for token, change in [(unknown, import_it), (personal.token, activate)]:
        given = await given_by_another(one, token, is_older=True, change=change)
        assert given == (None, 2)


@pytest.mark.parametrize("is_older", [True, False])
async def test_a_refusal_is_given_if_nothing_has_changed_or_it_was_asked_for_since(
    services, migrated_url, is_older
):
    """Otherwise a busy fleet would turn a 401 into a 503."""
    one = services(migrated_url)
    await one.listening()

    async def change():
        if not is_older:
            await one.deactivate_user("ann")

    given = await given_by_another(one, generate("phs_"), is_older=is_older, change=change)
    assert given == (Reason.INVALID, 1)
