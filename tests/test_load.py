"""Changes, outages and pauses in the middle of a lookup, on both services."""

from __future__ import annotations

import pytest
import redis

from either import soon
from keymw import Granted, Reason, Settings, StoreUnavailable
from keymw.flows import following
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


async def test_what_was_read_before_anybody_listened_is_asked_again(one):
    issued = await one.project_key()
    store = Store(one)

    async def begins_to_listen():
        if store.reads == 1:
            one.service._local.clear()

    store.then = begins_to_listen
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


async def test_an_outage_is_remembered_nowhere(pair, raw, caplog):
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


async def test_a_key_that_ends_while_it_is_looked_up_is_not_stored(
    services, sqlite_url, redis_url, clock, raw
):
    one = services(sqlite_url, redis=redis_url, clock=clock)
    await one.migrate()
    await one.listening()
    issued = await one.project_key()
    store = Store(one)

    async def pause():
        clock.advance(31.0)

    store.then = pause
    assert isinstance(await one.verify(issued.token), Granted)
    assert list(raw.scan_iter("keymw:v:*")) == []
    store.then = None
    reads = store.reads
    assert isinstance(await one.verify(issued.token), Granted)
    assert store.reads == reads + 1


async def test_the_feed_is_read_to_its_end_and_outlives_an_outage(
    services, sqlite_url, monkeypatch
):
    monkeypatch.setattr(following, "_FEED_PAGE", 2)
    settings = Settings(poll_interval=0.02)
    one, other = services(sqlite_url, settings=settings), services(sqlite_url, settings=settings)
    await one.migrate()
    await other.listening()
    store = other.deps.store
    feed = store.feed

    async def gone(after, limit):
        raise StoreUnavailable("gone")

    store.feed = gone
    issued = [await one.project_key() for _ in range(5)]
    await soon(lambda: other.service.stats().store_errors > 1)
    assert other.service.stats().invalidations == 0
    store.feed = feed
    await soon(lambda: other.service.stats().invalidations == len(issued))


async def test_a_service_listens_once_its_database_can_be_reached(services, sqlite_url):
    one = services(sqlite_url, settings=Settings(poll_interval=0.02))
    await one.migrate()
    store = one.deps.store
    position = store.position

    async def gone():
        raise StoreUnavailable("gone")

    store.position = gone
    await one.verify(generate("phs_"))
    await soon(lambda: one.service.stats().store_errors > 1)
    assert one.service._local.generation == 0
    store.position = position
    await soon(lambda: one.service._local.generation)
