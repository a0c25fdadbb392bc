"""A Redis that takes less than keymw asks of it: said once, with what to do, and done without."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest
import redis

from either import soon
from keymw import Granted, Reason, Settings
from keymw.tokens import generate
from redis_servers import TcpRedis

QUICK = Settings(redis_retry=0.1, store_timeout=2.0)
WORD = generate("pw_")
#: What `keymw.cache.faults` tells an operator to permit.
PERMITTED = [
    "+client|setname",
    "+select",
    "+mget",
    "+eval",
    "+get",
    "+set",
    "+del",
    "+xadd",
    "+xread",
    "+xrevrange",
]


def at(url, user, password):
    return url.replace("//", f"//{user}:{password}@")


@contextlib.contextmanager
def restricted(raw, *rules):
    """Have a user with these rules; gives the name."""
    raw.execute_command("ACL", "SETUSER", "limited", "reset", "on", f">{WORD}", *rules)
    try:
        yield "limited"
    finally:
        raw.execute_command("ACL", "DELUSER", "limited")


@contextlib.contextmanager
def configured(raw, name, value):
    before = raw.config_get(name)[name]
    raw.config_set(name, value)
    try:
        yield
    finally:
        raw.config_set(name, before)


@pytest.fixture
def raw(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def server(tmp_path):
    """A Redis that a test may spoil: its two URLs, and a client that stays connected."""
    with TcpRedis(tmp_path) as urls, redis.Redis.from_url(urls[1], protocol=2) as client:
        client.ping()
        yield urls[0], client


async def goes_on(service, caplog, advice, *, acknowledged=False):
    """See that good and bad keys are told apart, and that it is not said once a request."""
    issued, other = await service.project_key(), await service.personal_key()
    for _ in range(10):
        service.service._local.clear()
        assert isinstance(await service.verify(issued.token), Granted)
        assert isinstance(await service.verify(other.token), Granted)
        assert await service.reason(generate("phs_")) is Reason.INVALID
    told = await service.revoke(issued.key.id)
    assert told.acknowledged is acknowledged
    assert told.bound.total_seconds() == (1.0 if acknowledged else 5.0)
    assert await service.reason(issued.token) is Reason.REVOKED
    await service.deactivate_user("ann")
    assert await service.reason(other.token) is Reason.OWNER_INACTIVE
    await soon(lambda: caplog.messages)
    # Each purpose fails by itself: values, fills, changes; and the source of changes.
    assert len(caplog.messages) == len(set(caplog.messages)) <= 4
    assert all(advice in message for message in caplog.messages)
    assert WORD not in caplog.text


@pytest.fixture
def make(services, migrated_url):
    def make(url, settings=QUICK):
        return services(migrated_url, redis=url, settings=settings)

    return make


async def test_a_user_needs_no_more_than_the_advice_says(make, raw, redis_url, caplog):
    with restricted(raw, "~keymw:*", *PERMITTED) as user:
        service, reader = (make(f"{at(redis_url, user, WORD)}?db=1") for _ in range(2))
        for each in (service, reader):
            await each.listening()
        issued = await service.project_key()
        assert await service.counted(service.verify(issued.token)) == {"store_reads": 1}
        assert await reader.counted(reader.verify(issued.token)) == {"l2_hits": 1}
        assert (await service.revoke(issued.key.id)).acknowledged

        async def refused():
            return await reader.reason(issued.token) is Reason.REVOKED

        await soon(refused)
        for each in (service, reader):
            await each.close()
    assert caplog.messages == []


@pytest.mark.parametrize("missing", [*PERMITTED, "the keys"])
async def test_a_permission_that_is_missing(make, raw, redis_url, caplog, missing):
    rules = [rule for rule in ("~keymw:*", *PERMITTED) if rule != missing]
    if missing == "the keys":
        rules[0] = "~other:*"
    with restricted(raw, *rules) as user:
        service = make(f"{at(redis_url, user, WORD)}?db=1")
        # What fills, and what listens, is not needed to tell.
        told = missing in {"+mget", "+get", "+set", "+xread", "+xrevrange"}
        await goes_on(service, caplog, "To mend it: ACL SETUSER", acknowledged=told)
        await service.close()


async def test_values_are_deleted_though_the_message_may_not_be_sent(make, raw, redis_url):
    rules = [rule for rule in PERMITTED if rule != "+xadd"]
    with restricted(raw, "~keymw:*", *rules) as user:
        service = make(redis_url)
        await service.listening()
        issued = await service.project_key()
        await service.verify(issued.token)
        assert raw.keys("keymw:v:*")
        limited = make(at(redis_url, user, WORD))
        assert not (await limited.revoke(issued.key.id)).acknowledged
        assert raw.keys("keymw:v:*") == []
        await limited.close()


async def test_no_memory(make, raw, redis_url, caplog):
    with configured(raw, "maxmemory", "1"):
        # A change deletes first, and may write then: it is told.
        await goes_on(make(redis_url), caplog, "raise its maxmemory", acknowledged=True)
        assert raw.keys("keymw:v:*") == []


async def test_a_replica(make, server, caplog):
    url, raw = server
    raw.replicaof("127.0.0.1", 1)
    await goes_on(make(url), caplog, "give the URL of the primary")


async def test_too_few_replicas(make, raw, redis_url, caplog):
    with configured(raw, "min-replicas-to-write", "1"):
        await goes_on(make(redis_url), caplog, "lower min-replicas-to-write")


async def test_no_credentials(make, server, caplog):
    url, raw = server
    raw.config_set("requirepass", WORD)
    await goes_on(make(url), caplog, "put user and password into its URL")


@pytest.mark.parametrize("protocol", [2, 3])
async def test_wrong_credentials(make, raw, redis_url, caplog, protocol):
    with restricted(raw) as user:
        wrong = generate("pw_")
        service = make(f"{at(redis_url, user, wrong)}?protocol={protocol}")
        await goes_on(service, caplog, "correct the user and the password")
        assert wrong not in caplog.text


async def test_no_such_number_of_a_database(make, redis_url, caplog):
    await goes_on(make(f"{redis_url}?db=99"), caplog, "correct the number of the database")


async def test_no_room_for_a_connection(make, server, caplog):
    url, raw = server
    raw.config_set("maxclients", 1)
    await goes_on(make(url), caplog, "raise its maxclients")


async def test_a_redis_that_is_still_loading(make, tmp_path, caplog):
    with TcpRedis(tmp_path) as (_, unix), redis.Redis.from_url(unix) as raw:
        raw.mset({f"other:{number}": os.urandom(2000) for number in range(2000)})
        raw.save()
    slowly = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    with TcpRedis(tmp_path, *slowly) as (url, unix), redis.Redis.from_url(unix) as raw:
        await goes_on(make(url), caplog, "wait: it reads its data after a start")
        with pytest.raises(redis.exceptions.BusyLoadingError):  # it was so all the time
            raw.get("x")
        raw.config_set("key-load-delay", "0")


async def test_a_script_that_keeps_it_busy(make, server, caplog):
    url, raw = server
    raw.config_set("lua-time-limit", "1")
    with redis.Redis.from_url(url) as other:

        def keep_busy():
            with contextlib.suppress(redis.ResponseError):  # it is killed
                other.eval("while true do end", 0)

        loop = threading.Thread(target=keep_busy)
        loop.start()
        try:
            await goes_on(make(url), caplog, "SCRIPT KILL")
        finally:
            raw.script_kill()
            loop.join()


async def test_it_is_used_again_when_the_limit_is_gone(make, raw, redis_url, caplog, monkeypatch):
    monkeypatch.setattr("keymw.cache.breaker._QUIET", 0.3)
    service = make(redis_url)
    await service.listening()
    issued = await service.project_key()
    with configured(raw, "min-replicas-to-write", "1"):
        assert not (await service.revoke((await service.personal_key()).key.id)).acknowledged
        await service.verify(issued.token)
    service.service._local.clear()

    async def is_used():
        await service.verify((await service.project_key()).token)
        return {
            "keymw: Redis for 'fill' can be used again.",
            "keymw: Redis for 'publish' can be used again.",
        } <= set(caplog.messages)

    await soon(is_used)
    assert await service.counted(service.verify(issued.token)) == {"store_reads": 1}
    service.service._local.clear()
    assert await service.counted(service.verify(issued.token)) == {"l2_hits": 1}
