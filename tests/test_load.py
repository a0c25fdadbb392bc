"""Changes, outages and pauses in the middle of a lookup, on both services."""

from __future__ import annotations

import pytest
import redis

from either import soon
from keymw import Reason, Settings, StoreUnavailable, outage
from keymw.flows import following
from keymw.store.sql import SqlStore
from keymw.tokens import digest, generate

NEVER_POLLS = Settings(poll_interval=60.0, unacknowledged_bound=600.0)


class Store:
    """A service's store, with something that happens just after each of its reads."""

    def __init__(self, service):
        store = service.deps.store
        self.find, store.find = store.find, self.read
        self.reads = 0
        self.then = None
        self.error = None
        self.says = None

    async def read(self, key):
        self.reads += 1
        if self.error is not None:
            raise self.error
        record = self.says or await self.find(key)
        if self.then is not None:
            await self.then()
        return record


@pytest.fixture
async def one(services, sqlite_url):
    service = services(sqlite_url, settings=NEVER_POLLS)
    await service.migrate()
    await service.listening()
    return service


@pytest.fixture
async def pair(services, sqlite_url, redis_url):
    """Two services with a Redis; the second hears nothing, as a paused follower does."""
    one, deaf = (services(sqlite_url, redis=redis_url, settings=NEVER_POLLS) for _ in range(2))
    await one.migrate()
    await one.listening()
    await deaf.listening()
    deaf.service._local.invalidate = lambda change: None
    return one, deaf


@pytest.fixture
def soon_over(monkeypatch):
    """Have an outage end with the first answer, and not only after a second without a failure."""
    monkeypatch.setattr(outage, "_QUIET", 0.0)


@pytest.fixture
def raw(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


def held(service):
    return service.service._local.sizes()


async def test_a_busy_fleet_does_not_turn_refusals_into_outages(one):
    store = Store(one)
    other = (await one.project_key()).key

    async def unrelated():
        await one.update(other.id, label=f"label {store.reads}")

    store.then = unrelated
    token = generate("phs_")
    for reads in (1, 2):
        assert await one.reason(token) is Reason.INVALID
        assert store.reads == reads  # not remembered, not retried
    assert held(one) == (0, 0)
    store.then = None
    assert await one.reason(token) is Reason.INVALID
    assert held(one) == (0, 1)


async def test_a_grant_that_a_change_has_overtaken_is_asked_again(one):
    issued = await one.project_key()
    store = Store(one)

    async def revoke():
        if store.reads == 1:
            await one.revoke(issued.key.id)

    store.then = revoke
    assert await one.reason(issued.token) is Reason.REVOKED
    assert store.reads == 2


async def test_a_grant_that_is_always_too_old_is_an_outage(one):
    issued = await one.project_key()
    store = Store(one)
    store.says = await store.find(digest(issued.token.encode()))
    await one.revoke(issued.key.id)
    assert await one.reason(issued.token) is Reason.UNAVAILABLE
    assert store.reads == 3
    assert held(one)[0] == 0


async def test_no_more_is_asked_once_the_time_is_up(services, sqlite_url, clock):
    one = services(sqlite_url, clock=clock)
    await one.migrate()
    await one.listening()
    issued = await one.project_key()
    store = Store(one)
    store.says = await store.find(digest(issued.token.encode()))
    await one.revoke(issued.key.id)

    async def pause():
        clock.advance(one.service.settings.store_timeout)

    store.then = pause
    assert await one.reason(issued.token) is Reason.UNAVAILABLE
    assert store.reads == 1


async def test_a_process_that_has_seen_the_end_of_a_key_never_accepts_it_again(one):
    """A slow lookup comes back with the old state after a quicker one has read the new one."""
    issued = await one.project_key()
    local = one.service._local
    store = Store(one)
    old = await store.find(digest(issued.token.encode()))
    before = local.generation
    quiet, local.invalidate = local.invalidate, lambda change: None
    await one.revoke(issued.key.id)
    local.invalidate = quiet
    assert await one.reason(issued.token) is Reason.REVOKED
    local.clear()
    store.says = old
    assert await one.reason(issued.token) is Reason.UNAVAILABLE
    assert local.generation > before


async def test_what_was_read_before_a_gap_in_what_is_known_is_asked_again(
    one, services, sqlite_url, monkeypatch
):
    """The process was so far behind that it read only the last changes of many."""
    monkeypatch.setattr(following, "FEED_WINDOW", 2)
    other = services(sqlite_url)
    issued = await other.project_key()
    await following._catch_up(one.deps)
    store = Store(one)

    async def falls_behind():
        if store.reads == 1:
            for _ in range(3):
                await other.project_key()
            await following._catch_up(one.deps)

    store.then = falls_behind
    assert await one.reason(issued.token) is None
    assert store.reads == 2
    assert await one.reason(issued.token) is None
    assert store.reads == 2


async def test_a_value_that_redis_refuses_is_not_used_either(pair, raw):
    one, deaf = pair
    issued = await one.project_key()
    store = Store(deaf)

    async def revoke():
        if store.reads == 1:
            await one.revoke(issued.key.id)

    store.then = revoke
    assert await deaf.reason(issued.token) is Reason.REVOKED
    assert store.reads == 2
    assert list(raw.scan_iter("keymw:v:*")) == []


async def test_an_old_value_in_redis_is_not_used_by_who_knows_better(pair, raw):
    one, _ = pair
    issued = await one.project_key()
    await one.verify(issued.token)
    (name,) = raw.scan_iter("keymw:v:*")
    old = raw.get(name)
    await one.revoke(issued.key.id)
    raw.set(name, old)  # as when Redis goes back to an older snapshot
    store = Store(one)
    assert await one.reason(issued.token) is Reason.REVOKED
    assert store.reads == 1


async def test_an_outage_is_remembered_nowhere(pair, raw, caplog, soon_over):
    one, _ = pair
    issued = await one.project_key()
    store = Store(one)
    store.error = StoreUnavailable("gone")
    before = held(one)
    for _ in range(3):
        assert await one.reason(issued.token) is Reason.UNAVAILABLE
        assert await one.reason(generate("phs_")) is Reason.UNAVAILABLE
    assert held(one) == before
    assert list(raw.scan_iter("keymw:v:*")) == []
    assert one.service.stats().store_errors == 6
    assert caplog.messages == ["keymw: requests with API keys are answered 503: gone"]
    store.error = None
    assert await one.reason(issued.token) is None
    assert caplog.messages[1:] == ["keymw: the database answers again."]


async def test_redis_answers_for_a_database_that_is_down_and_is_not_taken_for_it(pair, caplog):
    one, other = pair
    issued = await one.project_key()
    await other.verify(issued.token)
    store = Store(one)
    store.error = StoreUnavailable("gone")
    for _ in range(3):
        assert await one.reason(generate("phs_")) is Reason.UNAVAILABLE
        one.service._local.clear()
        assert await one.reason(issued.token) is None
    assert one.service.stats().l2_hits == 3
    assert len(caplog.messages) == 1


async def test_an_answer_that_took_too_long_is_neither_used_nor_stored(
    services, sqlite_url, redis_url, clock, raw
):
    one = services(sqlite_url, redis=redis_url, clock=clock)
    await one.migrate()
    issued = await one.project_key()
    await one.believing()
    store = Store(one)

    async def pause():
        clock.advance(31.0)

    store.then = pause
    assert await one.reason(issued.token) is Reason.UNAVAILABLE
    assert list(raw.scan_iter("keymw:v:*")) == []
    assert held(one)[0] == 0
    store.then = None
    reads = store.reads
    assert await one.reason(issued.token) is None
    assert await one.reason(issued.token) is None
    assert store.reads == reads + 1


async def test_an_answer_that_ends_before_its_caller_goes_on_is_not_used(
    services, sqlite_url, clock
):
    """As when the process is paused after the load, or its thread is not run for long."""
    one = services(sqlite_url, clock=clock, settings=NEVER_POLLS)
    await one.migrate()
    issued = await one.project_key()
    await one.believing()
    join, pauses = one.service._join, [31.0, 31.0]

    async def slowly(key):
        entry = await join(key)
        if pauses:
            clock.advance(pauses.pop())
        return entry

    one.service._join = slowly
    assert await one.reason(issued.token) is Reason.UNAVAILABLE
    pauses.append(31.0)
    assert await one.reason(issued.token) is None  # for it was asked once more
    assert pauses == []


async def test_the_feed_is_followed_through_an_outage_however_much_was_missed(
    services, sqlite_url, monkeypatch
):
    monkeypatch.setattr(following, "FEED_WINDOW", 2)
    settings = Settings(poll_interval=0.02)
    one, other = services(sqlite_url, settings=settings), services(sqlite_url)
    await one.migrate()
    issued = [await one.project_key() for _ in range(5)]
    other.service.settings = settings
    await other.listening()
    for key in issued:
        assert await other.reason(key.token) is None
    assert held(other)[0] == 5
    feed, counted = SqlStore.feed, other.service.stats

    async def gone(self, after, limit):
        raise StoreUnavailable("gone")

    monkeypatch.setattr(SqlStore, "feed", gone)
    errors = counted().store_errors
    await soon(lambda: counted().store_errors > errors + 1)
    invalidations = counted().invalidations
    for key in issued:
        await one.revoke(key.key.id)
    monkeypatch.setattr(SqlStore, "feed", feed)
    await soon(lambda: held(other)[0] == 0)
    assert counted().invalidations == invalidations + 2
    for key in issued:
        assert await other.reason(key.token) is Reason.REVOKED


async def test_a_service_listens_once_its_database_can_be_reached(
    services, sqlite_url, monkeypatch
):
    one = services(sqlite_url, settings=Settings(poll_interval=0.02))
    await one.migrate()
    issued = await one.project_key()
    feed = SqlStore.feed

    async def gone(self, after, limit):
        raise StoreUnavailable("gone")

    monkeypatch.setattr(SqlStore, "feed", gone)
    assert await one.reason(issued.token) is None  # the store itself has said it
    await soon(lambda: one.service.stats().store_errors > 1)
    assert one.service._local.fence.until < one.service._clock.monotonic()
    monkeypatch.setattr(SqlStore, "feed", feed)
    await soon(lambda: one.service._local.fence.until > one.service._clock.monotonic())
