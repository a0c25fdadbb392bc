"""Listening to the stream on a real Redis: every message, or the word that some are missing."""

from __future__ import annotations

import threading
from dataclasses import replace
from time import monotonic

import pytest
import redis

from conftest import ManualClock, eventually
from keymw import Settings
from keymw._step import run_now
from keymw.cache.clients import blocking_cache, change_stream
from keymw.counters import Counters
from keymw.errors import SharedCacheUnavailable
from keymw.ports import Heard
from redis_servers import TcpRedis
from servers import redis_server

STREAM = "keymw:db:changes"
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"
#: Longer than any test runs: a read that answers sooner was woken.
LONG = 30.0


@pytest.fixture
def streams():
    made = []

    def make(url, *, store="db", **settings):
        settings = Settings(**{"redis_timeout": 5.0, **settings})
        stream = change_stream(url, settings, ManualClock(), Counters())
        stream.belong_to(store)
        made.append(stream)
        return stream

    yield make
    for stream in made:
        run_now(stream.aclose())


@pytest.fixture
def raw(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def stream(streams, redis_url):
    """A stream that has taken its stand."""
    stream = streams(redis_url)
    assert read(stream) == Heard((), complete=False)
    return stream


@pytest.fixture
def speak(redis_url):
    cache = blocking_cache(redis_url, Settings(redis_timeout=5.0), ManualClock(), Counters())
    cache.belong_to("db")

    def publish(*messages):
        for message in messages:
            assert run_now(cache.publish([], message))

    yield publish
    run_now(cache.aclose())


def read(stream, seconds=0.01):
    return run_now(stream.read(seconds))


def heard(*messages):
    return Heard(list(messages), complete=True)


NOTHING = Heard((), complete=True)
GAP = Heard((), complete=False)


class Waiting:
    """A read that waits in a thread, as it does in a service."""

    def __init__(self, stream, raw):
        self.outcome = None
        self._thread = threading.Thread(target=self._read, args=(stream,))
        self._thread.start()
        eventually(lambda: any("xread" in client["cmd"] for client in raw.client_list()))

    def _read(self, stream):
        try:
            self.outcome = read(stream, LONG)
        except SharedCacheUnavailable as error:
            self.outcome = error

    def ends(self):
        begun = monotonic()
        self._thread.join(LONG)
        assert monotonic() - begun < LONG / 3, "nothing woke it"
        return self.outcome


def test_everything_is_heard_after_the_stand(streams, redis_url, speak):
    speak(b"before")
    early, late = streams(redis_url), streams(redis_url)
    assert read(early) == GAP
    assert read(early) == NOTHING
    speak(b"1", b"2", b"3")
    assert read(early) == heard(b"1", b"2", b"3")
    assert read(early) == NOTHING
    assert read(late) == GAP
    speak(b"4")
    for stream in (early, late):
        assert read(stream) == heard(b"4")


def test_what_is_said_between_two_reads_is_heard(stream, speak):
    for number in range(20):
        speak(b"%d" % number)
        assert read(stream, LONG) == heard(b"%d" % number)


def test_more_than_is_read_at_once(stream, speak, monkeypatch):
    monkeypatch.setattr("keymw.cache.stream._COUNT", 10)
    said = [b"%d" % number for number in range(25)]
    speak(*said)
    # Not complete, for more may be waiting.
    assert read(stream) == replace(heard(*said[:10]), complete=False)
    assert read(stream) == replace(heard(*said[10:20]), complete=False)
    assert read(stream) == heard(*said[20:])
    assert read(stream) == NOTHING


def test_a_message_wakes_who_waits(stream, raw, speak):
    waiting = Waiting(stream, raw)
    speak(b"wake")
    assert waiting.ends() == heard(b"wake")


def test_another_databases_messages_are_not_heard(streams, redis_url, stream, speak):
    other, prefixed = streams(redis_url, store="other"), streams(redis_url, redis_prefix="other")
    for each in (other, prefixed):
        read(each)
    speak(b"1")
    assert [read(each) for each in (other, prefixed)] == [NOTHING, NOTHING]


def test_a_connection_that_broke_between_two_reads_loses_nothing(stream, raw, speak):
    speak(b"1")
    assert raw.client_kill_filter(_type="normal", skipme=True) == 2
    speak(b"2")
    assert read(stream) == heard(b"1", b"2")


def test_a_connection_that_breaks_while_it_waits_loses_nothing(stream, raw, speak):
    waiting = Waiting(stream, raw)
    assert raw.client_kill_filter(_type="normal", skipme=True) == 1
    assert isinstance(waiting.ends(), SharedCacheUnavailable)
    speak(b"1")
    assert read(stream) == heard(b"1")


@pytest.mark.parametrize("lose", ["flushall", "delete", "set", "older"])
def test_a_stream_that_went_back_is_noticed_and_heard_again(stream, raw, speak, lose):
    speak(b"1", b"2")
    assert read(stream) == heard(b"1", b"2")
    if lose == "flushall":
        raw.flushall()
    elif lose == "delete":
        raw.delete(STREAM)
    elif lose == "older":  # what a restored snapshot brings
        (first, fields), *_ = raw.xrange(STREAM)
        raw.delete(STREAM)
        raw.xadd(STREAM, fields, id=first)
    else:
        raw.set(STREAM, "no stream")
        with pytest.raises(SharedCacheUnavailable):
            read(stream)
        raw.delete(STREAM)
    assert read(stream) == GAP
    assert read(stream) == NOTHING
    speak(b"3")
    assert read(stream) == heard(b"3")


def test_a_redis_that_comes_back_from_an_old_snapshot(streams, tmp_path):
    server = TcpRedis(tmp_path)
    with server as (_, url), redis.Redis.from_url(url) as raw:
        stream = streams(url)
        read(stream)
        raw.xadd(STREAM, {"m": "1"})
        raw.save()
        raw.xadd(STREAM, {"m": "2"})
        assert read(stream) == heard(b"1", b"2")
        server.process.kill()
        server.process.wait()
        with pytest.raises(SharedCacheUnavailable):
            read(stream)
    with server as (_, url), redis.Redis.from_url(url) as raw:
        assert read(stream) == GAP
        raw.xadd(STREAM, {"m": "3"})
        assert read(stream) == heard(b"3")


def test_a_redis_that_comes_back_empty(streams, tmp_path):
    with redis_server(tmp_path) as url, redis.Redis.from_url(url) as raw:
        stream = streams(url)
        read(stream)
        raw.xadd(STREAM, {"m": "1"})
        assert read(stream) == heard(b"1")
    with pytest.raises(SharedCacheUnavailable):
        read(stream)
    with redis_server(tmp_path) as url, redis.Redis.from_url(url) as raw:
        assert read(stream) == GAP
        raw.xadd(STREAM, {"m": "2"})
        assert read(stream) == heard(b"2")


@pytest.mark.parametrize("place", ["1-1", "5000000000000-7", LAST_ID])
def test_an_id_that_a_stranger_has_made_up_deafens_nobody_for_long(stream, raw, speak, place):
    """Redis numbers by the clock; what is far ahead of it leaves no room for what comes after."""
    raw.xadd(STREAM, {"m": "stranger"}, id=place)
    assert read(stream) == heard(b"stranger")
    speak(b"1")
    if place == LAST_ID:  # the stream was begun anew for it
        assert read(stream) == GAP
        speak(b"2")
        assert read(stream) == heard(b"2")
    else:
        assert read(stream) == heard(b"1")


def test_silence_after_the_last_id_proves_nothing(stream, raw, speak):
    """A message may have come and gone before it was put back."""
    for _ in range(3):
        raw.delete(STREAM)
        raw.xadd(STREAM, {"m": "stranger"}, id=LAST_ID)
        read(stream)
        speak(b"1")
        raw.xadd(STREAM, {"m": "stranger"}, id=LAST_ID)
        assert read(stream) == GAP
    raw.delete(STREAM)
    assert read(stream) == GAP
    speak(b"2")
    assert read(stream) == heard(b"2")


def test_other_fields_than_ours_are_an_empty_message(stream, raw, speak):
    raw.xadd(STREAM, {"x": "y", "z": ""})
    raw.xadd(STREAM, {"m": b"\xff" * 100_000, "x": "y"})
    speak(b"1")
    assert read(stream) == heard(b"", b"\xff" * 100_000, b"1")


@pytest.mark.parametrize("parameters", ["protocol=2", "protocol=3", "db=1", "decode_responses=1"])
@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_every_way_to_reach_it(streams, tmp_path, transport, parameters):
    with TcpRedis(tmp_path) as (tcp, unix):
        url = f"{unix if transport == 'unix' else tcp}?{parameters}"
        stream = streams(url)
        assert read(stream) == GAP
        assert read(stream) == NOTHING
        with redis.Redis.from_url(url) as raw:
            raw.xadd(STREAM, {"m": b"1"})
        assert read(stream) == heard(b"1")


def test_closing_ends_a_wait_and_is_final(stream, raw, caplog):
    waiting = Waiting(stream, raw)
    run_now(stream.aclose())
    assert isinstance(waiting.ends(), SharedCacheUnavailable)
    with pytest.raises(SharedCacheUnavailable):
        read(stream)
    run_now(stream.aclose())
    eventually(lambda: not any("xread" in client["cmd"] for client in raw.client_list()))
    assert caplog.messages == []
