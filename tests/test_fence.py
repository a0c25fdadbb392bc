"""Leases: how they run, and which of a service's answers count while they do and do not."""

from __future__ import annotations

import threading
from math import inf

import pytest

from either import soon
from keymw import Reason, Settings, StoreUnavailable
from keymw.cache.fence import Fence
from keymw.cache.redis import RedisCache
from keymw.cache.stream import RedisStream
from keymw.errors import SharedCacheUnavailable
from keymw.store.sql import SqlStore
from keymw.tokens import generate

QUICK = Settings(poll_interval=0.02)
DEFAULTS = Settings()


# ---- the fence alone --------------------------------------------------------------------------


def test_nothing_is_believed_before_every_source_has_answered():
    fence = Fence("feed", "stream")
    assert fence.until == -inf
    fence.extend("feed", 10.0)
    assert fence.until == -inf
    fence.extend("stream", 5.0)
    assert fence.until == 5.0
    fence.extend("stream", 20.0)
    assert fence.until == 10.0


def test_a_late_answer_to_an_early_question_shortens_nothing():
    fence = Fence("feed")
    fence.extend("feed", 10.0)
    fence.extend("feed", 9.0)
    assert fence.until == 10.0


def test_with_no_source_there_is_nothing_to_miss():
    fence = Fence()
    assert fence.until == inf


def test_leases_that_are_extended_by_several_threads_at_once():
    fence = Fence("a", "b")

    def extend(source):
        for until in range(2000):
            fence.extend(source, float(until))

    threads = [threading.Thread(target=extend, args=(source,)) for source in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fence.until == 1999.0


# ---- what it lets a service believe -----------------------------------------------------------


class Outages:
    """Cuts a service's threads, or its requests, off from what they ask."""

    def __init__(self, monkeypatch):
        self._patch = monkeypatch
        self.tries = 0

    def _cut(self, owner, method, error):
        async def gone(this, *_):
            self.tries += 1
            raise error

        self._patch.setattr(owner, method, gone)

    def feed(self):
        self._cut(SqlStore, "feed", StoreUnavailable("gone"))

    def stream(self):
        self._cut(RedisStream, "read", SharedCacheUnavailable("gone"))

    def database(self):
        self.feed()
        self._cut(SqlStore, "find", StoreUnavailable("gone"))

    async def noticed(self):
        """Wait until no answer is on its way any more that was asked for before."""
        before = self.tries
        await soon(lambda: self.tries > before + 2)


@pytest.fixture
def cut(monkeypatch):
    return Outages(monkeypatch)


HIT, READ = {"l1_hits": 1}, {"store_reads": 1}


async def test_an_answer_of_the_store_counts_alone_for_a_short_while(
    services, migrated_url, clock, cut
):
    cut.feed()
    one = services(migrated_url, clock=clock, settings=QUICK)
    token = (await one.project_key()).token
    unknown = generate("phs_")
    for asked in (token, unknown):
        assert await one.counted(one.verify(asked)) == READ
    clock.advance(QUICK.stream_lease - 0.01)
    assert await one.counted(one.verify(token)) == HIT
    assert await one.counted(one.verify(unknown)) == {"l1_negative_hits": 1}
    clock.advance(0.02)  # whether hits or not has no bearing on it
    for asked in (token, unknown):
        assert await one.counted(one.verify(asked)) == READ


async def test_it_counts_for_longer_while_the_feed_answers(services, migrated_url, clock):
    one = services(migrated_url, clock=clock, settings=QUICK)
    token = (await one.project_key()).token
    await one.listening()
    assert await one.counted(one.verify(token)) == READ
    for _ in range(29):
        clock.advance(1.0)
        await one.listening()
        assert await one.counted(one.verify(token)) == HIT
    clock.advance(1.0)
    await one.listening()
    assert await one.counted(one.verify(token)) == READ


async def test_without_a_database_hits_go_on_until_the_lease_ends(
    services, migrated_url, clock, cut
):
    one = services(migrated_url, clock=clock, settings=QUICK)
    token, cold = (await one.project_key()).token, (await one.project_key()).token
    await one.listening()
    assert await one.reason(token) is None
    cut.database()
    await cut.noticed()
    clock.advance(QUICK.feed_lease - 0.01)
    assert await one.counted(one.verify(token)) == HIT
    assert await one.reason(cold) is Reason.UNAVAILABLE
    clock.advance(0.02)
    assert await one.reason(token) is Reason.UNAVAILABLE


@pytest.fixture
async def pair(services, migrated_url, redis_url, clock):
    """Two services with a Redis, and one clock that stands still."""
    made = [services(migrated_url, clock=clock, redis=redis_url, settings=QUICK) for _ in range(2)]
    for service in made:
        await service.listening()
    return made


@pytest.mark.parametrize(
    ("source", "lease"), [("stream", QUICK.stream_lease), ("feed", QUICK.feed_lease)]
)
async def test_redis_and_l1_are_believed_until_the_first_lease_ends(
    pair, clock, cut, source, lease
):
    one, other = pair
    tokens = [(await one.project_key()).token for _ in range(2)]
    for token in tokens:
        await one.verify(token)
    getattr(cut, source)()
    await cut.noticed()
    assert await other.counted(other.verify(tokens[0])) == {"l2_hits": 1}
    clock.advance(lease - 0.01)
    await other.listening()  # the other source goes on
    assert await other.counted(other.verify(tokens[0])) == HIT
    assert await other.counted(other.verify(tokens[1])) == {"l2_hits": 1}
    clock.advance(0.02)
    await cut.noticed()  # an error is no answer
    other.deps.shared.get = None  # whom nobody asks now
    for token in tokens:
        assert await other.counted(other.verify(token)) == READ


async def test_while_redis_is_down_a_key_costs_one_read_a_lease(pair, clock, cut, monkeypatch):
    async def nothing(*_):
        return None

    _, other = pair
    token = (await other.project_key()).token
    monkeypatch.setattr(RedisCache, "_ask", nothing)
    cut.stream()
    await cut.noticed()
    clock.advance(DEFAULTS.stream_lease + 0.01)

    async def ask():
        for _ in range(20):
            clock.advance(0.1)
            assert await other.reason(token) is None

    # Two seconds hold three reads that are a lease apart.
    assert await other.counted(ask()) == {"store_reads": 3, "l1_hits": 17}


async def test_a_lease_runs_from_when_the_question_was_sent(
    services, migrated_url, clock, monkeypatch
):
    """A process that is paused between the question and its answer knows less than it seems."""
    settings = Settings(poll_interval=300.0, unacknowledged_bound=600.0)
    one = services(migrated_url, clock=clock, settings=settings)
    feed, sent = SqlStore.feed, clock.monotonic()

    async def slowly(self, after, limit):
        answer = await feed(self, after, limit)
        clock.advance(500.0)
        return answer

    monkeypatch.setattr(SqlStore, "feed", slowly)
    await one.verify(generate("phs_"))
    local = one.service._local
    await soon(lambda: local.fence.until > 0)
    assert local.fence.until == pytest.approx(sent + settings.feed_lease)
