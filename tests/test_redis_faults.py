"""A request is answered rightly and in time whatever has become of Redis."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from hashlib import sha256

import pytest
import redis

from either import soon
from keymw import Granted, Reason, Settings
from keymw.cache.fence import Fence
from keymw.tokens import digest, generate
from redis_servers import FaultyServer, TcpRedis, redis_4

QUICK = Settings(redis_timeout=0.05, store_timeout=2.0, redis_retry=60.0)

REPLIES = {
    "hangs": (None, False),
    "breaks off": (b"*1\r\n$100\r\nabc", True),
    "breaks off at once": (b"", True),
    "rubbish": (b"\x00\xff<html>\r\n\r\n", False),
    "no RESP": (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
    "huge": (b"$999999999999\r\n", False),
    "Redis 4": (redis_4, False),
    "number": (b":5\r\n", False),
    "OK": (b"+OK\r\n", False),
    "two replies": (b"+OK\r\n+OK\r\n", False),
    "error": (b"-ERR no\r\n", False),
    "odd error": (b"-\r\n", False),
    "null": (b"_\r\n", False),
    "nulls": (b"*-1\r\n", False),
    "map": (b"%1\r\n$1\r\na\r\n:3\r\n", False),
    "handshake, then numbers": (b"%1\r\n$5\r\nproto\r\n:3\r\n+OK\r\n", False),
    "set": (b"~2\r\n:1\r\n:2\r\n", False),
    "push": (b">2\r\n+x\r\n+y\r\n", False),
}


async def lookup(service, token):
    """Verify, and see that it did not take longer than is promised."""
    begun = time.monotonic()
    verdict = await service.verify(token)
    assert time.monotonic() - begun < service.service.settings.patience
    return verdict


async def is_right(service, token):
    """See that good and bad keys are told apart, and that only the store's word is cached."""
    assert isinstance(await lookup(service, token), Granted)
    assert (await lookup(service, generate("phs_"))).reason is Reason.INVALID
    for _ in range(3):
        service.service._local.clear()
        assert isinstance(await lookup(service, token), Granted)
    assert service.service.stats().l2_hits == 0


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(("reply", "breaks_off"), REPLIES.values(), ids=REPLIES)
async def test_a_server_that_is_no_redis(
    services, migrated_url, caplog, reply, breaks_off, protocol
):
    with FaultyServer(reply, breaks_off=breaks_off) as url:
        service = services(migrated_url, redis=f"{url}?protocol={protocol}", settings=QUICK)
        issued = await service.project_key()
        await is_right(service, issued.token)
        told = await service.revoke(issued.key.id)
        assert told.acknowledged is False
        assert (await lookup(service, issued.token)).reason is Reason.REVOKED
        await service.close()
    assert len(caplog.messages) <= 6  # not one a request
    assert all(message.startswith("keymw: Redis") for message in caplog.messages)


NOWHERE = {
    "refuses": "redis://127.0.0.1:1",
    "no such host": "redis://no-such-host.invalid:6379",
    "no such socket": "unix:///no/such/socket",
    "no TLS": "rediss://127.0.0.1:1",
}


@pytest.mark.parametrize("url", NOWHERE.values(), ids=NOWHERE)
async def test_a_redis_that_is_not_there(services, migrated_url, caplog, url):
    service = services(migrated_url, redis=url, settings=QUICK)
    issued = await service.project_key()
    await is_right(service, issued.token)
    assert len(caplog.messages) == len(set(caplog.messages))
    assert service.service.stats().store_errors == 0


async def test_without_redis_the_word_of_the_store_counts_for_a_moment(
    services, migrated_url, clock
):
    """Nobody would tell of a change, but for the store's feed: an entry is alone."""
    service = services(migrated_url, redis=NOWHERE["refuses"], settings=QUICK, clock=clock)
    issued = await service.project_key()
    assert await service.counted(service.verify(issued.token)) == {"store_reads": 1}
    clock.advance(0.89)
    assert await service.counted(service.verify(issued.token)) == {"l1_hits": 1}
    clock.advance(0.02)
    assert await service.counted(service.verify(issued.token)) == {"store_reads": 1}
    unknown = generate("phs_")
    assert await service.counted(service.verify(unknown)) == {"store_reads": 1}
    clock.advance(0.89)
    assert await service.counted(service.verify(unknown)) == {"l1_negative_hits": 1}
    clock.advance(0.02)
    assert await service.counted(service.verify(unknown)) == {"store_reads": 1}


async def test_an_entry_stops_to_count_when_redis_goes(services, migrated_url, tmp_path):
    """It is not known whether it still holds; and it counts again once the store has said so."""
    with TcpRedis(tmp_path) as (url, _):
        service = services(migrated_url, redis=url)
        await service.listening()
        issued = await service.project_key()
        await service.verify(issued.token)
        assert await service.counted(service.verify(issued.token)) == {"l1_hits": 1}
    core, name = service.service, digest(issued.token.encode())
    await soon(lambda: core._local.get(name, core._clock.monotonic()) is None)
    assert core.stats().l1_size == 1  # it is there, and is not believed
    assert await service.counted(service.verify(issued.token)) == {"store_reads": 1}
    assert await service.counted(service.verify(issued.token)) == {"l1_hits": 1}


async def test_only_the_first_request_waits_for_a_redis_that_hangs(services, migrated_url, caplog):
    with FaultyServer(None) as url:
        service = services(migrated_url, redis=url, settings=QUICK)
        service.service._local.fence = Fence()  # as if it had hung only just now
        tokens = [(await service.project_key()).token for _ in range(3)]
        cache = service.deps.shared.publish.__self__
        cache._breaker._until.clear()
        errors = []
        for token in tokens:
            assert isinstance(await lookup(service, token), Granted)
            errors.append(cache._breaker._until.get(""))
        assert errors[0] is not None
        assert errors == errors[:1] * 3
        await service.close()


async def test_a_redis_that_hangs_is_not_asked_by_requests_once_the_fence_is_down(
    services, migrated_url
):
    with FaultyServer(None) as url:
        service = services(migrated_url, redis=url, settings=QUICK)
        token = (await service.project_key()).token
        breaker = service.deps.shared.publish.__self__._breaker
        breaker._until.clear()
        assert isinstance(await lookup(service, token), Granted)
        assert breaker._until == {}
        await service.close()


async def test_a_redis_that_is_stopped_and_goes_on(services, migrated_url, tmp_path, caplog):
    settings = Settings(redis_timeout=0.1, redis_retry=0.2, poll_interval=0.2)
    server = TcpRedis(tmp_path)
    with server as (url, _):
        one, other = (services(migrated_url, redis=url, settings=settings) for _ in range(2))
        issued, second = await one.project_key(), await one.project_key()
        for service in (one, other):
            await service.listening()
            assert isinstance(await lookup(service, issued.token), Granted)
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert isinstance(await lookup(one, second.token), Granted)
            told = await one.revoke(issued.key.id)
            assert told.acknowledged is False

            async def refused():  # by the store's feed
                return await other.reason(issued.token) is Reason.REVOKED

            await soon(refused)
        finally:
            server.process.send_signal(signal.SIGCONT)

        async def hit():
            one.service._local.clear()
            await lookup(one, second.token)
            return one.service.stats().l2_hits

        await soon(hit)
        assert (await lookup(one, issued.token)).reason is Reason.REVOKED
        for service in (one, other):
            await service.close()
    down = [message for message in caplog.messages if "cannot be used" in message]
    assert 1 <= len(down) <= 8  # the two services, for requests and changes; not each request


# ---- values that are not the key's own --------------------------------------------------------


@pytest.fixture
def raw(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def one(services, migrated_url, redis_url):
    service = services(migrated_url, redis=redis_url)
    await service.listening()
    return service


@pytest.fixture
async def name(one):
    """What a token's value is called in Redis: that of this database."""
    oldest, *_ = await one.deps.store.signing_keys()
    store = sha256(b"keymw names" + oldest).hexdigest()[:16]
    return lambda token: f"keymw:v:{store}:{digest(token.encode()).hex()}"


async def test_another_databases_values_are_not_believed(services, tmp_path, redis_url, raw):
    """Two databases on one Redis, with the same secret in both, and values that got crossed."""
    token = generate("phs_")
    pair = [services(f"sqlite:///{tmp_path}/{n}.db", redis=redis_url) for n in "ab"]
    for number, service in enumerate(pair):
        await service.migrate()
        await service.listening()
        await service.import_key(
            "project_secret", digest(token.encode()).hex(), "x", ["other:read"], project_id=number
        )
    for crossed in (False, True):
        for number, service in enumerate(pair):
            service.service._local.clear()
            assert (await service.verify(token)).principal.project_id == str(number)
            assert service.service.stats().l2_hits == 0
        if not crossed:
            first, second = raw.scan_iter("keymw:v:*")
            values = raw.mget(first, second)
            raw.mset({first: values[1], second: values[0]})


async def test_another_databases_changes_are_not_heard(services, tmp_path, redis_url):
    pair = [services(f"sqlite:///{tmp_path}/{n}.db", redis=redis_url) for n in "ab"]
    for service in pair:
        await service.migrate()
        await service.listening()
    one, other = pair
    issued = await other.personal_key()
    for _ in range(2):
        await one.deactivate_user("ann")
        await one.activate_user("ann")
        assert await other.reason(issued.token) is None
    other.service._local.clear()
    assert await other.reason(issued.token) is None


@pytest.mark.parametrize("value", [b"", b"x", b"k2.", b"k2." + b"x" * 500])
async def test_a_value_that_was_written_by_somebody_else_is_a_miss(one, raw, value, name):
    issued = await one.project_key()
    raw.set(name(issued.token), value)
    assert await one.counted(one.verify(issued.token)) == {"store_reads": 1}
    one.service._local.clear()
    assert await one.counted(one.verify(issued.token)) == {"l2_hits": 1}  # and is mended


async def test_nothing_but_a_grant_of_the_store_is_ever_in_redis(one, raw, name):
    good, dead = await one.project_key(), await one.personal_key()
    await one.deactivate_user("ann")
    for token in (good.token, dead.token, generate("phs_")):
        await one.verify(token)
    assert [key.decode() for key in raw.scan_iter("keymw:v:*")] == [name(good.token)]
    everything = b"".join(raw.dump(key) for key in raw.scan_iter())
    assert good.token.encode() not in everything
    for secret in await one.deps.store.signing_keys():
        assert secret not in everything


@pytest.fixture
async def aging(services, migrated_url, redis_url, clock):
    """Two services whose clock the test moves, and a key that the one has put into Redis."""
    pair = [services(migrated_url, redis=redis_url, clock=clock) for _ in range(2)]
    for service in pair:
        await service.believing()
    return pair


async def test_a_hit_in_redis_does_not_make_a_value_younger(aging, clock):
    one, other = aging
    issued = await one.project_key()
    await one.verify(issued.token)
    clock.advance(20)
    assert await other.counted(other.verify(issued.token)) == {"l2_hits": 1}
    clock.advance(9.9)
    assert await other.counted(other.verify(issued.token)) == {"l1_hits": 1}
    clock.advance(0.1)
    assert await other.counted(other.verify(issued.token)) == {"store_reads": 1}


async def test_a_value_from_the_future_is_not_believed(aging, clock):
    """The clock that wrote it was ahead, or has stepped back: its age is not known."""
    one, other = aging
    issued = await one.project_key()
    await one.verify(issued.token)
    clock.start -= timedelta(seconds=1.1)
    assert await other.counted(other.verify(issued.token)) == {"store_reads": 1}
    clock.start += timedelta(seconds=0.2)
    other.service._local.clear()
    assert await other.counted(other.verify(issued.token)) == {"l2_hits": 1}


@pytest.mark.parametrize("left", [0.05, 29.0])
async def test_no_cache_outlives_a_key(aging, clock, raw, left, name):
    one, other = aging
    issued = await one.project_key(expires_at=clock.now() + timedelta(seconds=left))
    for service in aging:
        assert await service.reason(issued.token) is None
    assert 0 < raw.pttl(name(issued.token)) <= left * 1000
    clock.advance(left * 0.98)
    for service in aging:
        assert await service.counted(service.verify(issued.token)) == {"l1_hits": 1}
    clock.advance(left * 0.02 + 0.001)
    for service in aging:
        assert await service.reason(issued.token) is Reason.EXPIRED
    assert other.service.stats().l1_size == 0
