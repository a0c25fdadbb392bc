"""What is said of a Redis that cannot be used: once, what is wrong, and what to do about it."""

from __future__ import annotations

import logging

import pytest
import redis

from keymw import Settings
from keymw._step import run_now
from keymw.cache.breaker import Breaker
from keymw.cache.clients import blocking_cache, change_stream
from keymw.cache.faults import OLDEST, explain
from keymw.counters import Counters
from keymw.errors import SharedCacheUnavailable
from keymw.ports import Turn
from keymw.tokens import digest
from redis_servers import FaultyServer, redis_4
from servers import redis_server

A = digest(b"a")
REFUSED = redis.ConnectionError("Error 111 connecting to localhost:6379. Connection refused.")
FULL = redis.ConnectionError("max number of clients reached")
OOM = redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
ODD = redis.ResponseError("no")


@pytest.fixture
def breaker(clock):
    return Breaker(clock, 1.0, Counters())


@pytest.fixture
def said(caplog):
    """Returns what has been said since it was last asked."""

    def take():
        messages = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        caplog.clear()
        return messages

    return take


def test_what_fails_is_left_alone_and_tried_by_one_now_and_then(breaker, clock):
    assert breaker.permits("get")
    breaker.failed("get", REFUSED)
    assert not breaker.permits("get")
    assert not breaker.permits("fill")
    clock.advance(1.0)
    assert [breaker.permits("get") for _ in range(3)] == [True, False, False]
    breaker.failed("get", REFUSED)
    clock.advance(1.0)
    assert breaker.permits("fill")
    breaker.succeeded("fill")
    assert all(breaker.permits(what) for what in ("get", "fill", "get"))


def test_an_error_of_one_command_leaves_the_others(breaker, clock):
    breaker.failed("get", REFUSED)
    breaker.failed("fill", OOM)  # so Redis is there
    assert breaker.permits("get")
    assert not breaker.permits("fill")
    breaker.succeeded("get")
    assert not breaker.permits("fill")
    clock.advance(1.0)
    assert breaker.permits("fill")


@pytest.mark.parametrize("error", [REFUSED, OOM, ODD, ValueError("rubbish"), redis.RedisError()])
def test_a_failure_is_said_once(breaker, clock, said, error):
    for _ in range(5):
        breaker.failed("fill", error)
        clock.advance(1.0)
    (message,) = said()
    assert message.startswith("keymw: Redis ")
    assert "cannot be used (" in message
    assert "\n" not in message
    assert breaker._counters.l2_errors == 5


def test_the_causes_of_one_outage_are_told_apart(breaker, said):
    for _ in range(3):
        for error in (REFUSED, FULL, redis.ConnectionError("gone")):
            breaker.failed("get", error)
    first, second = said()
    assert "check its URL" in first
    assert "maxclients" in second


def test_it_is_said_to_be_well_once_it_has_been_for_a_while(breaker, clock, said):
    for _ in range(10):  # as when there is no room for a second connection
        breaker.failed("get", FULL)
        breaker.succeeded("get")
        clock.advance(1.0)
    assert len(said()) == 1
    clock.advance(4.0)
    breaker.succeeded("get")
    breaker.succeeded("get")
    assert said() == ["keymw: Redis can be used again."]
    breaker.failed("get", FULL)
    assert len(said()) == 1


def test_what_is_meant_is_named(clock, said):
    breaker = Breaker(clock, 1.0, Counters(), "Redis as the source of changes")
    breaker.failed("follow", REFUSED)
    breaker.failed("follow", ODD)
    clock.advance(10.0)
    breaker.succeeded("follow")
    assert [message[: message.find(" ca")] for message in said()] == [
        "keymw: Redis as the source of changes",
        "keymw: Redis as the source of changes for 'follow'",
        "keymw: Redis as the source of changes",
        "keymw: Redis as the source of changes for 'follow'",
    ]


#: What servers of several versions say, and words of what is to be done. Those that come with a
#: real server are in test_redis_limits.py.
SAID = [
    (redis.ResponseError("NOPROTO unsupported protocol version"), f"Redis {OLDEST}", True),
    (redis.ResponseError("NOPERM no permissions to run the 'client' command"), "client|set", True),
    (redis.ResponseError("DB index is out of range"), "number of the database", True),
    (redis.AuthenticationError("Client sent AUTH, but no password is set"), "password", True),
    (redis.ConnectionError("DENIED Redis is running in protected mode because"), "listen", True),
    (redis.ConnectionError("[SSL: WRONG_VERSION_NUMBER] wrong version"), "redis://", True),
    (redis.ConnectionError("Error 13 connecting to unix:/s. Permission denied."), "socket", True),
    (redis.ConnectionError("Connection closed by server."), "", True),
    (redis.TimeoutError("Timeout reading from socket"), "redis_timeout", True),
    (OSError("odd"), "", True),
    (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), "replicas", False),
    (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "disk", False),
    (redis.ResponseError("CLUSTERDOWN The cluster is down"), "cluster", False),
    (redis.exceptions.MovedError("3999 127.0.0.1:6381", status_code="MOVED"), "cluster", False),
    (redis.exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"),
     "cluster", False),
    (redis.exceptions.MasterDownError("Link with MASTER is down and replica-serve-stale-data"),
     "primary", False),
    (redis.ResponseError("BUSY Redis is busy running a script."), "SCRIPT KILL", False),
    (redis.ResponseError("Error running script (call to f_12): @user_script:2: -READONLY You "
                         "can't write against a read only replica."), "primary", False),
    (redis.ResponseError("@user_script: 2: -OOM command not allowed when used memory > "
                         "'maxmemory'."), "maxmemory", False),
    (ODD, "", False),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words", "is_total"), SAID)
def test_advice(error, words, is_total):
    fault = explain(error)
    assert (words in fault.advice, bool(fault.advice)) == (True, bool(words))
    assert fault.is_total is is_total


def test_what_redis_says_is_one_short_line_without_arguments():
    fault = explain(redis.ResponseError("unknown command `HELLO`, with args beginning with: `s3`"))
    assert fault.text == "unknown command `HELLO`"
    assert explain(redis.ResponseError("first\r\nsecond")).text == "first"
    assert len(explain(redis.ResponseError("x" * 10_000)).text) == 200
    assert explain(redis.RedisError()).text == "RedisError"


@pytest.fixture
def opened(clock):
    """Makes a cache and a stream that listens, both of which have their clock from the test."""
    made = []

    def make(url):
        ports = [
            port(url, Settings(redis_timeout=1.0), clock, Counters())
            for port in (blocking_cache, change_stream)
        ]
        made.extend(ports)
        return ports

    yield make
    for port in made:
        run_now(port.aclose())


@pytest.mark.parametrize("parameters", ["", "?protocol=2"])
def test_a_redis_that_is_too_old(opened, clock, said, parameters):
    with FaultyServer(redis_4) as url:
        cache, stream = opened(url.replace("//", "//user:hunter2@") + parameters)
        for _ in range(5):
            assert run_now(cache.get(A)) is None
            assert not run_now(cache.publish([A], b"message"))
            with pytest.raises(SharedCacheUnavailable):
                run_now(stream.read(0.01))
            clock.advance(1.0)
    messages = said()
    assert len(messages) == 2
    for message in messages:
        assert message.endswith(f"To mend it: keymw needs Redis {OLDEST} or newer.")
        assert "hunter2" not in message


def test_a_redis_that_is_not_there_and_comes(opened, clock, said, tmp_path):
    cache, stream = opened(f"unix://{tmp_path}/redis.sock")
    for _ in range(5):
        assert run_now(cache.get(A)) is None
        assert run_now(cache.reserve(A, b"mine", b"")) is Turn.NONE
        with pytest.raises(SharedCacheUnavailable):
            run_now(stream.read(0.01))
    assert cache._breaker._counters.l2_errors == 1
    first, second = said()
    assert first.startswith("keymw: Redis cannot be used (Error 2 connecting to /")
    assert second.startswith("keymw: Redis as the source of changes cannot be used (Error 2 ")
    with redis_server(tmp_path):
        assert run_now(cache.get(A)) is None
        assert run_now(cache.publish([], b"message"))  # a change is always tried
        run_now(stream.read(0.01))
        assert run_now(cache.reserve(A, b"mine", b"")) is Turn.MINE
        clock.advance(5.0)
        run_now(cache.get(A))
        run_now(stream.read(0.01))
        assert said() == [
            "keymw: Redis can be used again.",
            "keymw: Redis as the source of changes can be used again.",
        ]


def test_what_is_closed_says_nothing_more(opened, redis_url, said):
    cache, stream = opened(redis_url)
    for port in (cache, stream):
        run_now(port.aclose())
    with pytest.raises(SharedCacheUnavailable):
        run_now(stream.read(0.01))
    assert said() == []
