"""The shared cache on a real Redis, with the blocking and the asynchronous client."""

from __future__ import annotations

import asyncio

import pytest
import redis

from conftest import ManualClock
from either import soon
from keymw import Settings
from keymw.cache.batch import Batch
from keymw.cache.clients import async_cache, blocking_cache, check_redis_url
from keymw.counters import Counters
from keymw.ports import Turn
from keymw.tokens import digest
from redis_servers import TcpRedis

A, B = digest(b"a"), digest(b"b")
VALUE_A, VALUE_B, TOKEN_A = (
    f"keymw:v:db:{A.hex()}",
    f"keymw:v:db:{B.hex()}",
    f"keymw:f:db:{A.hex()}",
)
STREAM = "keymw:db:changes"


@pytest.fixture(params=[blocking_cache, async_cache], ids=["blocking", "async"])
async def caches(request):
    """Makes shared caches with the one client, then with the other."""
    made = []

    def make(url, *, store="db", **settings):
        settings = Settings(**{"redis_timeout": 5.0, **settings})
        cache = request.param(url, settings, ManualClock(), Counters())
        cache.belong_to(store)
        made.append(cache)
        return cache

    yield make
    for cache in made:
        await cache.aclose()


@pytest.fixture
def cache(caches, redis_url):
    return caches(redis_url)


@pytest.fixture
def raw(redis_url):
    """A client to look with."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_resetstat()
        yield client


async def put(cache, name, value, ttl=60):
    """Store a value in the way in which a lookup does it."""
    assert await cache.reserve(name, b"mine", b"") is Turn.MINE
    assert await cache.fill(name, b"mine", value, ttl)


def messages(raw):
    return [fields[b"m"] for _, fields in raw.xrange(STREAM)]


async def test_values_come_back_in_the_order_of_the_question(cache):
    assert await cache.get(A) is None
    await put(cache, A, b"1")
    await put(cache, B, b"2")
    assert await cache.get_many([B, digest(b"c"), A, B]) == [b"2", None, b"1", b"2"]
    assert await cache.get(A) == b"1"


async def test_concurrent_questions_are_not_crossed(cache):
    names = [digest(b"%d" % number) for number in range(200)]
    for name in names:
        await put(cache, name, name)
    assert await asyncio.gather(*(cache.get(name) for name in names)) == names


async def test_a_value_ends_by_itself(cache, raw):
    await put(cache, A, b"1")
    await put(cache, B, b"1", ttl=0.0001)
    assert 59_000 < raw.pttl(VALUE_A) <= 60_000
    await soon(lambda: not raw.exists(VALUE_B))


async def test_it_is_one_callers_turn_until_the_value_is_there(cache, raw):
    assert await cache.reserve(A, b"mine", b"") is Turn.MINE
    assert await cache.reserve(A, b"other", b"") is Turn.TAKEN
    assert await cache.reserve(A, b"mine", b"") is Turn.TAKEN
    assert await cache.reserve(B, b"other", b"") is Turn.MINE
    assert await cache.fill(A, b"mine", b"1", 60)
    assert not raw.exists(TOKEN_A)
    assert await cache.reserve(A, b"other", b"") == b"1"
    assert not raw.exists(TOKEN_A)


async def test_a_useless_value_is_none(cache):
    await put(cache, A, b"old")
    assert await cache.reserve(A, b"mine", b"old") is Turn.MINE
    assert await cache.reserve(A, b"other", b"old") is Turn.TAKEN
    assert await cache.reserve(A, b"other", b"older") == b"old"
    assert await cache.fill(A, b"mine", b"new", 60)
    assert await cache.reserve(A, b"other", b"old") == b"new"


async def test_what_is_not_even_a_string_is_no_value(cache, raw):
    raw.rpush(VALUE_A, "x")
    assert await cache.get(A) is None
    await put(cache, A, b"1")
    assert await cache.get(A) == b"1"


async def test_a_change_takes_values_and_turns_away_and_leaves_a_message(cache, raw):
    await put(cache, B, b"2")
    assert await cache.reserve(A, b"mine", b"") is Turn.MINE
    assert await cache.publish([A, B], b"first")
    assert not raw.exists(VALUE_B, TOKEN_A)
    assert await cache.get(B) is None
    assert not await cache.fill(A, b"mine", b"1", 60)
    assert await cache.get(A) is None
    await put(cache, A, b"new")
    assert await cache.publish([], b"second")
    assert await cache.get(A) == b"new"
    assert messages(raw) == [b"first", b"second"]


async def test_another_ones_turn_is_left_alone(cache, raw):
    assert await cache.reserve(A, b"late", b"") is Turn.MINE
    await cache.publish([A], b"")
    assert await cache.reserve(A, b"mine", b"") is Turn.MINE
    await cache.release(A, b"late")
    assert not await cache.fill(A, b"late", b"old", 60)
    assert await cache.get(A) is None
    assert await cache.fill(A, b"mine", b"1", 60)


async def test_a_turn_can_be_given_back(cache, raw):
    assert await cache.reserve(A, b"mine", b"") is Turn.MINE
    await cache.release(A, b"mine")
    assert not raw.exists(TOKEN_A)
    assert not await cache.fill(A, b"mine", b"1", 60)
    assert await cache.reserve(A, b"other", b"") is Turn.MINE


async def test_a_turn_ends_by_itself_after_every_read_of_the_store(caches, redis_url, raw):
    cache = caches(redis_url)
    assert await cache.reserve(A, b"mine", b"") is Turn.MINE
    assert Settings().store_timeout * 1000 < raw.pttl(TOKEN_A) <= 60_000
    brief = caches(redis_url, redis_timeout=0.005, store_timeout=0.005, redis_prefix="brief")
    while await brief.reserve(A, b"dead", b"") is not Turn.MINE:  # so short a time may be too short
        pass

    async def is_free():
        return await brief.reserve(A, b"mine", b"") is Turn.MINE

    await soon(is_free)
    assert not await cache.fill(A, b"dead", b"1", 60)


async def test_the_stream_does_not_grow_for_ever(cache, raw, monkeypatch):
    monkeypatch.setattr("keymw.cache.redis._STREAM_LENGTH", 200)
    for _ in range(500):
        await cache.publish([], b"m")
    assert 200 <= raw.xlen(STREAM) < 400


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw.set(STREAM, "x"),
        lambda raw: raw.rpush(STREAM, "x"),
        lambda raw: raw.xadd(STREAM, {"m": "x"}, id=f"{2**64 - 1}-{2**64 - 1}"),
    ],
    ids=["a string", "a list", "ids at their end"],
)
async def test_a_stream_that_takes_no_message_is_begun_anew(cache, raw, spoil):
    spoil(raw)
    assert await cache.publish([A], b"1")
    assert await cache.publish([A], b"2")
    assert messages(raw) == [b"1", b"2"]


async def test_services_with_other_prefixes_or_stores_share_nothing(caches, redis_url, raw):
    one = caches(redis_url)
    others = [caches(redis_url, redis_prefix="other"), caches(redis_url, store="other")]
    await put(one, A, b"1")
    for other in others:
        assert await other.get(A) is None
        assert await other.reserve(A, b"its", b"") is Turn.MINE
        await other.publish([A], b"other")
    assert await one.get(A) == b"1"
    assert messages(raw) == []
    assert {key.split(b":")[0] for key in raw.scan_iter()} == {b"keymw", b"other"}


@pytest.mark.parametrize("parameters", ["protocol=2", "protocol=3", "db=1"])
@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_every_way_to_reach_it(caches, tmp_path, transport, parameters):
    with TcpRedis(tmp_path) as (tcp, unix):
        cache = caches(f"{unix if transport == 'unix' else tcp}?{parameters}")
        await put(cache, A, b"1")
        assert await cache.get(A) == b"1"
        assert await cache.reserve(A, b"mine", b"") == b"1"
        assert await cache.publish([A], b"message")
        assert await cache.get(A) is None


async def test_the_url_cannot_take_away_what_is_relied_on(caches, redis_url):
    cache = caches(f"{redis_url}?decode_responses=true&socket_timeout=0.0001&protocol=2")
    await put(cache, A, b"\xff")
    assert await cache.get(A) == b"\xff"
    assert await cache.publish([A], b"message")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://u:hunter2@host/0",
        "redis://u:hunter2@host:port/0",
        "redis://u:hunter2@host:99999/0",
        "redis://u:hunter2@host/0?socket_timeout=soon",
        "redis://u:hunter2@host/0?no_such_option=1",
        "redis://[u:hunter2@host/0",
        5,
        b"redis://host",
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url):
    with pytest.raises(ValueError, match="redis: not a Redis URL") as caught:
        check_redis_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_the_questions_of_one_tick_cost_one_command(redis_url, raw):
    cache = async_cache(redis_url, Settings(redis_timeout=5.0), ManualClock(), Counters())
    batch = Batch(cache)
    names = [digest(b"%d" % number) for number in range(64)]
    for name in names:
        await put(cache, name, name)
    asking = [asyncio.create_task(batch.get(name)) for name in names]
    await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    replies = await asyncio.gather(*asking, return_exceptions=True)
    assert replies[1::2] == names[1::2]
    assert {type(reply) for reply in replies[::2]} == {asyncio.CancelledError}
    assert raw.info("commandstats")["cmdstat_mget"]["calls"] == 1
    assert await batch.get(names[0]) == names[0]
    assert raw.info("commandstats")["cmdstat_mget"]["calls"] == 2
    await cache.aclose()


async def test_nothing_is_said_in_an_outage_and_a_change_is_not_acknowledged(caches, tmp_path):
    cache = caches(f"unix://{tmp_path}/none.sock")
    assert await cache.get(A) is None
    assert await cache.reserve(A, b"mine", b"") is Turn.NONE
    assert await cache.fill(A, b"mine", b"1", 60)  # nobody can know of anything newer
    await cache.release(A, b"mine")
    assert not await cache.publish([A], b"message")
