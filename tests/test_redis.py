"""The shared cache on a real Redis, with the blocking and the asynchronous client."""

from __future__ import annotations

import asyncio
import logging

import pytest
import redis

from conftest import ManualClock
from either import soon
from keymw import Settings
from keymw._step import run_now
from keymw.cache.batch import Batch
from keymw.cache.clients import async_cache, blocking_cache, check_redis_url
from keymw.counters import Counters
from keymw.errors import SharedCacheUnavailable
from keymw.ports import Invalidation
from keymw.tokens import digest
from redis_servers import TcpRedis
from servers import redis_server

A, B = digest(b"a"), digest(b"b")


@pytest.fixture(params=[blocking_cache, async_cache], ids=["blocking", "async"])
async def caches(request):
    """Makes shared caches with the one client, then with the other."""
    made = []

    def make(url, clock=None, **settings):
        settings = Settings(**{"redis_timeout": 5.0, **settings})
        cache = request.param(url, settings, clock or ManualClock(), Counters())
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


async def test_values_come_back_in_the_order_of_the_question(cache):
    assert await cache.get(A) is None
    assert await cache.fill(A, b"1", (("key:a", 1),), 60)
    assert await cache.fill(B, b"2", (("key:b", 1),), 60)
    assert await cache.get_many([B, digest(b"c"), A, B]) == [b"2", None, b"1", b"2"]
    assert await cache.get(A) == b"1"


async def test_concurrent_questions_are_not_crossed(cache):
    names = [digest(b"%d" % number) for number in range(200)]
    for name in names:
        await cache.fill(name, name, (("key:x", 1),), 60)
    replies = await asyncio.gather(*(cache.get(name) for name in names))
    assert replies == names


async def test_a_value_ends_by_itself(cache, raw):
    await cache.fill(A, b"1", (("key:a", 1),), 60)
    await cache.fill(B, b"1", (("key:b", 1),), 0.0001)
    assert 59_000 < raw.pttl(f"keymw:v:{A.hex()}") <= 60_000
    await soon(lambda: not raw.exists(f"keymw:v:{B.hex()}"))


@pytest.mark.parametrize("entity", ["key:a", "user:u"])
async def test_what_a_change_has_overtaken_is_not_stored(cache, raw, entity):
    made_of = {"key:a": 3, "user:u": 5}
    assert await cache.fill(A, b"old", tuple(made_of.items()), 60)
    assert await cache.publish(Invalidation(entity, made_of[entity] + 1, (A, B)))
    assert await cache.get(A) is None
    assert not await cache.fill(A, b"old", tuple(made_of.items()), 60)
    assert await cache.get(A) is None
    made_of[entity] += 1
    assert await cache.fill(A, b"new", tuple(made_of.items()), 60)
    # An older message that comes late deletes, but takes nothing back.
    await cache.publish(Invalidation(entity, 1))
    assert raw.get(f"keymw:t:{entity}") == b"%d" % made_of[entity]
    assert raw.pttl(f"keymw:t:{entity}") > 60_000  # longer than any value may live


async def test_a_follower_hears_everything_after_its_stand(caches, redis_url):
    speaker, listener, late = (caches(redis_url) for _ in range(3))
    assert await listener.follow(0.01) == []
    for version in range(1, 4):
        await speaker.publish(Invalidation("key:a", version))
    assert await listener.follow(1) == [Invalidation("key:a", n) for n in (1, 2, 3)]
    assert await listener.follow(0.01) == []
    assert await late.follow(0.01) == []
    await speaker.publish(Invalidation("user:u", 9))
    for follower in (listener, late):
        assert await follower.follow(1) == [Invalidation("user:u", 9)]


async def test_a_follower_wakes_for_a_message(caches, redis_url, raw):
    listener = caches(redis_url, poll_interval=30.0)
    await listener.follow(0.01)
    heard = []

    async def hear():
        heard.extend(await listener.follow(30))

    # The blocking client waits in a thread of its own, as it does in a service.
    blocking = listener._settle.__name__ == "at_once"
    waiting = asyncio.create_task(
        asyncio.to_thread(lambda: run_now(hear())) if blocking else hear()
    )
    await soon(lambda: any("xread" in client["cmd"] for client in raw.client_list()))
    raw.xadd("keymw:changes", {"m": '["key:a", 1]'})
    await asyncio.wait_for(waiting, 5)
    assert heard == [Invalidation("key:a", 1)]


async def test_a_follower_reads_on_where_a_connection_broke(caches, redis_url, raw):
    speaker, listener = caches(redis_url), caches(redis_url)
    await listener.follow(0.01)
    await speaker.publish(Invalidation("key:a", 1))
    raw.client_kill_filter(_type="normal", skipme=True)
    heard = []

    async def hears():
        try:
            heard.extend(await listener.follow(0.01))
        except SharedCacheUnavailable:
            return False
        return bool(heard)

    await soon(hears)
    assert heard == [Invalidation("key:a", 1)]


@pytest.mark.parametrize(
    "message",
    [b"", b"5", b"[]", b'["key:a"]', b'["key:a", "1"]', b"[1, 2]", b"{}", b"\xff", b"[" * 100_000],
)
async def test_what_is_not_a_message_says_nothing(cache, raw, message):
    await cache.follow(0.01)
    raw.xadd("keymw:changes", {"m": message})
    raw.xadd("keymw:changes", {"x": "y"})
    await cache.publish(Invalidation("key:a", 1))
    assert await cache.follow(1) == [Invalidation("key:a", 1)]


async def test_services_with_other_prefixes_share_nothing(caches, redis_url, raw):
    one, other = caches(redis_url), caches(redis_url, redis_prefix="other")
    await other.follow(0.01)
    await one.fill(A, b"1", (("key:a", 1),), 60)
    assert await other.get(A) is None
    await other.publish(Invalidation("key:a", 5, (A,)))
    assert await one.get(A) == b"1"
    assert await one.fill(A, b"1", (("key:a", 1),), 60)
    await one.publish(Invalidation("key:b", 1))
    assert await other.follow(0.5) == [Invalidation("key:a", 5)]
    assert {key.split(b":")[0] for key in raw.scan_iter()} == {b"keymw", b"other"}


@pytest.mark.parametrize("parameters", ["protocol=2", "protocol=3", "db=1"])
@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_every_way_to_reach_it(caches, tmp_path, transport, parameters):
    with TcpRedis(tmp_path) as (tcp, unix):
        cache = caches(f"{unix if transport == 'unix' else tcp}?{parameters}")
        await cache.follow(0.01)
        assert await cache.fill(A, b"1", (("key:a", 1),), 60)
        assert await cache.get(A) == b"1"
        assert await cache.publish(Invalidation("key:a", 1))
        assert await cache.follow(1) == [Invalidation("key:a", 1)]


async def test_the_url_cannot_take_away_what_is_relied_on(caches, redis_url):
    cache = caches(f"{redis_url}?decode_responses=true&socket_timeout=0.0001&protocol=2")
    await cache.follow(0.01)
    assert await cache.fill(A, b"1", (("key:a", 1),), 60)
    assert await cache.get(A) == b"1"
    await cache.publish(Invalidation("key:a", 1))
    assert await cache.follow(0.5) == [Invalidation("key:a", 1)]


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
        await cache.fill(name, name, (("key:x", 1),), 60)
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


# ---- what it does when something is wrong -----------------------------------------------------


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_refusing_redis_is_said_once_and_left_alone(caches, tmp_path, clock, caplog):
    cache = caches(f"unix://{tmp_path}/none.sock", clock)
    for _ in range(5):
        assert await cache.get(A) is None
        assert await cache.fill(A, b"1", (), 60)
    assert cache._breaker._counters.l2_errors == 1
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith("keymw: Redis cannot be used (ConnectionError: ")
    clock.advance(1.0)
    for _ in range(5):
        assert await cache.get(A) is None
    assert cache._breaker._counters.l2_errors == 2
    assert len(warnings(caplog)) == 1
    for errors in (3, 4):  # a change is always tried
        assert not await cache.publish(Invalidation("key:a", 1))
        assert cache._breaker._counters.l2_errors == errors
    for _ in range(3):
        with pytest.raises(SharedCacheUnavailable):
            await cache.follow(0.01)
        clock.advance(1.0)
    assert len(warnings(caplog)) == 2
    assert "the source of changes" in warnings(caplog)[1]


async def test_it_is_used_again_when_it_is_back(caches, tmp_path, clock, caplog):
    cache = caches(f"unix://{tmp_path}/redis.sock", clock)
    assert await cache.get(A) is None
    with pytest.raises(SharedCacheUnavailable):
        await cache.follow(0.01)
    with redis_server(tmp_path):
        assert await cache.get(A) is None
        assert await cache.publish(Invalidation("key:a", 1))
        assert await cache.follow(0.01) == []
        assert await cache.fill(A, b"1", (("key:a", 1),), 60)
        assert await cache.get(A) == b"1"
        assert warnings(caplog)[2:] == [
            "keymw: Redis can be used again.",
            "keymw: Redis as the source of changes can be used again.",
        ]


LIMITS = {
    "out of memory": ("CONFIG", "SET", "maxmemory", "1"),
    "read-only": ("CONFIG", "SET", "min-replicas-to-write", "1"),
    "no permission": ("ACL", "SETUSER", "default", "-eval"),
}
UNDONE = {
    "out of memory": ("CONFIG", "SET", "maxmemory", "0"),
    "read-only": ("CONFIG", "SET", "min-replicas-to-write", "0"),
    "no permission": ("ACL", "SETUSER", "default", "+eval"),
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_redis_that_only_reads_is_read(cache, raw, limit, caplog):
    clock = cache._breaker._clock
    await cache.fill(A, b"1", (("key:a", 1),), 60)
    raw.execute_command(*LIMITS[limit])
    try:
        for _ in range(5):
            assert await cache.get(A) == b"1"
            assert await cache.fill(B, b"2", (("key:b", 1),), 60)
            clock.advance(0.5)
        assert len(warnings(caplog)) == 1
        assert "'fill'" in warnings(caplog)[0]
        assert not await cache.publish(Invalidation("user:u", 1))
        assert not await cache.publish(Invalidation("user:u", 1))
        assert len(warnings(caplog)) == 2
    finally:
        raw.execute_command(*UNDONE[limit])
    clock.advance(1.0)
    assert await cache.fill(B, b"2", (("key:b", 1),), 60)
    assert await cache.publish(Invalidation("user:u", 1))
    assert warnings(caplog)[2:] == [
        "keymw: Redis for 'fill' can be used again.",
        "keymw: Redis for 'publish' can be used again.",
    ]


async def test_a_redis_without_memory_still_lets_a_key_be_ended(cache, raw):
    await cache.follow(0.01)
    await cache.fill(A, b"1", (("key:a", 1),), 60)
    raw.config_set("maxmemory", "1")
    try:
        assert await cache.publish(Invalidation("key:a", 2, (A,)))
        assert await cache.get(A) is None
    finally:
        raw.config_set("maxmemory", "0")
    assert await cache.follow(1) == [Invalidation("key:a", 2)]
    assert not await cache.fill(A, b"1", (("key:a", 1),), 60)


async def test_other_types_under_its_names_are_misses(cache, raw, caplog):
    raw.rpush(f"keymw:v:{A.hex()}", "x")
    raw.rpush("keymw:t:key:a", "x")
    raw.set("keymw:changes", "x")
    assert await cache.get(A) is None
    assert await cache.fill(B, b"1", (("key:a", 1),), 60)
    assert not await cache.publish(Invalidation("key:a", 2, (A,)))
    for _ in range(3):
        with pytest.raises(SharedCacheUnavailable):
            await cache.follow(0.01)
    assert len([line for line in warnings(caplog) if "'follow'" in line]) == 1


async def test_a_closed_cache_says_nothing_more(cache, caplog):
    await cache.follow(0.01)
    await cache.aclose()
    with pytest.raises(SharedCacheUnavailable):
        await cache.follow(0.01)
    assert warnings(caplog) == []
