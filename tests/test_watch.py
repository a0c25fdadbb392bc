"""The threads that listen: when there are any, when they end, and that nothing makes them deaf."""

from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import sys
import threading
from queue import SimpleQueue

import pytest

from conftest import eventually
from either import Either, soon
from keymw import AsyncKeyService, KeyService, Reason, Settings, watch
from keymw.store.sql import SqlStore
from keymw.tokens import generate
from keymw.watch import Follower, Watch
from redis_servers import FaultyServer

#: A wait for Redis, and a nap between two looks into the feed, that no test would sit out.
LONG = Settings(acknowledged_bound=400.0, unacknowledged_bound=600.0, poll_interval=300.0)
QUICK = Settings(poll_interval=0.05)


#: Threads from before a test, of services that other tests have not closed.
earlier = set()


@pytest.fixture(autouse=True)
def _earlier():
    earlier.update(threading.enumerate())
    yield
    earlier.clear()


def listeners():
    """Return the names of the test's threads that listen."""
    names = (thread.name for thread in threading.enumerate() if thread not in earlier)
    return sorted(name for name in names if name in ("keymw-feed", "keymw-stream"))


# ---- followers by themselves ------------------------------------------------------------------


class Follows:
    """A follower that a test drives: each turn waits until it is let go, or interrupted."""

    def __init__(self, name="follower"):
        self.go = threading.Event()
        self.turns = 0
        self.error = None
        #: How many interruptions come before its wait begins, and end nothing.
        self.misses = 0
        self.told = []
        self.follower = Follower(name, self.follow, self.interrupt, lambda: self.told.append("end"))

    async def follow(self, nap):
        while True:
            self.turns += 1
            assert self.go.wait(10)
            if self.error is not None:
                raise self.error
            if await nap(0.01):
                self.told.append("nap")
                return

    def interrupt(self):
        self.told.append("stop")
        if self.told.count("stop") > self.misses:
            self.go.set()


@pytest.fixture
def pair():
    """Two followers at work, which are ended after the test."""
    follows = [Follows("one"), Follows("two")]
    made = Watch([each.follower for each in follows])
    yield made, *follows
    made.stop()
    made.join(10)
    assert not any(thread.is_alive() for thread in made._threads)


def test_each_follower_has_to_have_tried_once(pair):
    made, one, two = pair
    assert not made.has_tried
    one.go.set()
    eventually(lambda: one.turns > 1)
    made.wait(0.01)
    assert not made.has_tried
    two.go.set()
    made.wait(10)
    assert made.has_tried


def test_to_stop_ends_the_waits_and_gives_everything_back(pair):
    made, one, two = pair
    made.stop()
    made.join(10)
    assert one.told == two.told == ["stop", "nap", "end"]
    assert [one.turns, two.turns] == [1, 1]
    made.stop()
    assert one.told[3:] == ["stop"]


def test_a_wait_that_begins_just_after_it_was_interrupted_is_ended_too(pair):
    made, one, _ = pair
    one.misses = 1
    made.stop()
    made.join(10)
    assert one.told == ["stop", "stop", "nap", "end"]


def test_nobody_waits_for_what_was_stopped_before_it_had_begun(pair, monkeypatch):
    made, *follows = pair
    for each in follows:
        each.error = SystemExit()  # torn away in the midst of its first turn
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    made.stop()
    made.wait(10)
    assert made.has_tried


def test_a_defect_is_logged_and_the_follower_begins_anew(pair, monkeypatch, caplog):
    monkeypatch.setattr(watch, "_PAUSE", 0.01)
    made, one, _ = pair
    one.error = ValueError("a defect")
    one.go.set()
    eventually(lambda: one.turns > 2)
    one.error = None
    turns = one.turns
    eventually(lambda: one.turns > turns + 2)
    assert "end" not in one.told
    assert {(entry.levelno, entry.message) for entry in caplog.records} == {
        (logging.ERROR, "keymw: listening for changes failed and begins anew.")
    }
    assert "a defect" in caplog.text
    assert not made.has_tried  # the other one has not


def test_a_defect_does_not_hold_up_the_end(pair, monkeypatch):
    monkeypatch.setattr(watch, "_PAUSE", 300.0)
    made, one, _ = pair
    one.error = ValueError("a defect")
    one.go.set()
    eventually(made._tried[0].is_set)
    made.stop()
    made.join(10)
    assert one.told == ["stop", "end"]


class Interrupted(SimpleQueue):
    """A queue during whose wait the garbage collector ends what waits."""

    def get(self, timeout):
        self.stop.set()
        return super().get(timeout=timeout)


def test_who_waits_can_be_stopped_by_its_own_thread():
    stop = watch._Stop()
    stop._queue = Interrupted()
    stop._queue.stop = stop
    told = []
    waiting = threading.Thread(target=lambda: told.append(stop.wait(300)), daemon=True)
    waiting.start()
    waiting.join(10)
    assert told == [True]


def test_to_stop_may_come_in_between_any_two_lines_of_a_wait_or_of_a_stop():
    """As from the finalizer of a service that is collected in the very thread that listens."""

    def interrupted(method, given, place):
        """Call a method that is interrupted at its n-th line; returns how many it has run."""
        stop, lines, told = watch._Stop(), [], []

        def trace(frame, what, _):
            lines.append(frame.f_lineno)
            if len(lines) == place:
                stop.set()
            return trace

        def run():
            sys.settrace(trace)
            getattr(stop, method)(*given)
            sys.settrace(None)
            told.append(stop.wait(300 if place else 0))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), f"it hangs when stopped at {lines[-1:]}"
        assert told == [bool(place) or method == "set"]
        return len(lines)

    for method, given in [("wait", [0.01]), ("set", [])]:
        count = interrupted(method, given, None)
        assert count > 3
        for place in range(1, count + 1):
            interrupted(method, given, place)


# ---- those of a service -----------------------------------------------------------------------


@pytest.fixture(params=["redis", "alone"])
def redis(request):
    return request.getfixturevalue("redis_url") if request.param == "redis" else None


async def test_a_service_listens_from_its_first_lookup_until_it_is_closed(
    services, migrated_url, redis
):
    expected = ["keymw-feed", "keymw-stream"] if redis else ["keymw-feed"]
    one = services(migrated_url, redis=redis)
    for _ in range(2):
        issued = await one.personal_key()
        await one.update(issued.key.id, label="new")
        await one.deactivate_user("ann")
        await one.revoke(issued.key.id)
        await one.list()
        for unread in ("phs_", generate("xyz_"), issued.token[:-1]):
            await one.verify(unread)
        assert listeners() == []  # nothing has been cached yet
        for _ in range(3):
            await one.verify(issued.token)
            await one.verify(generate("phs_"))
            assert listeners() == expected
        await one.close()
        assert listeners() == []


async def test_the_asgi_face_listens_from_the_start(migrated_url, redis_url):
    async with AsyncKeyService(migrated_url, redis=redis_url) as keys:
        await keys.start()
        assert listeners() == ["keymw-feed", "keymw-stream"]
    assert listeners() == []


async def test_nobody_else_can_change_a_database_in_memory(services, clock, redis_url):
    for redis in (None, redis_url):
        one = services("sqlite://", clock=clock, redis=redis)
        await one.migrate()
        issued = await one.project_key()
        assert await one.reason(issued.token) is None
        clock.advance(29.0)
        assert await one.counted(one.verify(issued.token)) == {"l1_hits": 1}
        assert listeners() == []
        await one.revoke(issued.key.id)
        assert await one.reason(issued.token) is Reason.REVOKED


async def test_closing_ends_the_waits_and_says_nothing(services, migrated_url, redis, caplog):
    one = services(migrated_url, redis=redis, settings=LONG)
    await one.listening()
    await one.close()
    assert listeners() == []
    assert caplog.messages == []


async def test_closing_ends_a_wait_for_a_redis_that_hangs(services, migrated_url):
    patient = Settings(acknowledged_bound=400.0, unacknowledged_bound=600.0, redis_timeout=60.0)
    with FaultyServer(None) as hangs:
        one = services(migrated_url, redis=hangs, settings=patient)
        watching = one.service._keep_watch()
        await soon(watching._tried[0].is_set)
        await one.close()
        assert listeners() == []


def test_threads_outlive_an_event_loop_and_serve_the_next_one(migrated_url, redis_url):
    keys = AsyncKeyService(migrated_url, redis=redis_url)
    issued = asyncio.run(keys.issue_project_key("2", "x", ["other:read"]))
    asyncio.run(Either(keys).listening())
    first = keys._watch
    for _ in range(3):
        assert asyncio.run(Either(keys).reason(issued.token)) is None
    assert keys._watch is first
    assert listeners() == ["keymw-feed", "keymw-stream"]
    asyncio.run(keys.aclose())
    assert listeners() == []
    assert keys._watch is None


@pytest.mark.parametrize("face", [KeyService, AsyncKeyService])
async def test_threads_end_with_a_service_that_nobody_has_any_more(migrated_url, redis_url, face):
    one = Either(face(migrated_url, redis=redis_url))
    await one.listening()
    assert listeners() == ["keymw-feed", "keymw-stream"]
    if face is AsyncKeyService:
        await one.service._loop().end()  # as when the loop is over
    del one
    gc.collect()
    await soon(lambda: listeners() == [])


async def test_nothing_is_kept_of_a_watch_that_is_over(services, migrated_url):
    one = services(migrated_url)

    def kept():
        gc.collect()
        # By type: what stands for another object, as of Django, is not to be asked what it is.
        return sum(issubclass(type(thing), Watch) for thing in gc.get_objects())

    before = kept()
    for _ in range(4):
        await one.verify(generate("phs_"))
        await one.close()
    assert kept() == before


def test_many_threads_with_a_loop_for_each_call(migrated_url, redis):
    """As an app does that is not asynchronous, with an asynchronous service."""
    keys = AsyncKeyService(migrated_url, redis=redis)
    good = asyncio.run(keys.issue_project_key("2", "good", ["other:read"])).token
    bad = asyncio.run(keys.issue_project_key("2", "bad", ["other:read"]))
    asyncio.run(keys.revoke(bad.key.id))
    cases = [(good, None), (bad.token, Reason.REVOKED), (generate("phs_"), Reason.INVALID)]
    wrong, barrier = [], threading.Barrier(8)

    def work(number):
        barrier.wait()
        for step in range(12):
            token, expected = cases[(number + step) % 3]
            try:
                found = asyncio.run(Either(keys).reason(token))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is wrong
                found = error
            if found is not expected:
                wrong.append((token[:8], found))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    asyncio.run(keys.aclose())
    assert wrong == []
    assert keys._loops == {}
    assert listeners() == []


async def test_while_a_defect_makes_deaf_the_lease_runs_out(
    services, migrated_url, clock, monkeypatch, caplog
):
    monkeypatch.setattr(watch, "_PAUSE", 0.01)
    one = services(migrated_url, clock=clock, settings=QUICK)
    issued = await one.project_key()
    await one.listening()
    assert await one.reason(issued.token) is None
    feed, failures = SqlStore.feed, []

    async def defect(self, after, limit):
        failures.append(after)
        raise ValueError("a defect")

    monkeypatch.setattr(SqlStore, "feed", defect)
    await soon(lambda: len(failures) > 1)
    assert await one.counted(one.verify(issued.token)) == {"l1_hits": 1}
    clock.advance(QUICK.feed_lease)
    assert await one.counted(one.verify(issued.token)) == {"store_reads": 1}
    clock.advance(QUICK.stream_lease)
    assert await one.counted(one.verify(issued.token)) == {"store_reads": 1}
    assert "listening for changes failed and begins anew" in caplog.text
    monkeypatch.setattr(SqlStore, "feed", feed)
    await one.listening()
    assert await one.reason(issued.token) is None
    clock.advance(QUICK.feed_lease / 2)
    assert await one.counted(one.verify(issued.token)) == {"l1_hits": 1}


async def test_a_feed_that_cannot_be_read_is_logged_once_and_when_it_is_back(
    services, migrated_url, caplog
):
    one = services(migrated_url, settings=QUICK)
    await one.listening()
    deaf = "keymw: changes cannot be heard of, so caches are hardly used: "
    expected = []
    database = sqlite3.connect(migrated_url.removeprefix("sqlite:///"))
    for turn in (1, 2):
        errors = one.service.stats().store_errors
        database.execute("ALTER TABLE keymw_events RENAME TO hidden")
        await soon(lambda errors=errors: one.service.stats().store_errors > errors + 3)
        database.execute("ALTER TABLE hidden RENAME TO keymw_events")
        expected += [deaf, "keymw: changes can be heard of again."]
        await soon(lambda turn=turn: len(caplog.messages) >= 2 * turn)
    database.close()
    await one.close()
    assert [text[: len(start)] for text, start in zip(caplog.messages, expected, strict=True)] == (
        expected
    )
    assert {entry.levelno for entry in caplog.records} == {logging.WARNING}
