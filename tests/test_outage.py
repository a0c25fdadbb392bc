"""An outage of the database is said once, and its end is believed when it lasts."""

from __future__ import annotations

import logging
import threading

import pytest

from keymw import StoreUnavailable
from keymw.counters import Counters
from keymw.outage import Outage

GONE = "keymw: requests with API keys are answered 503: gone"
BACK = "keymw: the database answers again."


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def outage(counters):
    return Outage(counters)


def fail(outage, now, words="gone"):
    outage.note(StoreUnavailable(words), now)


def answer(outage, counters, now):
    counters.store_answers += 1
    outage.look(now)


def test_it_is_said_once_and_its_end_too(outage, counters, caplog):
    for now in (0.0, 0.1, 5.0):
        fail(outage, now)
    assert caplog.messages == [GONE]
    answer(outage, counters, 6.0)
    answer(outage, counters, 7.0)
    assert caplog.messages == [GONE, BACK]
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR, logging.WARNING]
    fail(outage, 8.0, "gone again")
    assert caplog.messages[2:] == [GONE + " again"]


def test_nothing_is_said_where_nothing_has_failed(outage, counters, caplog):
    answer(outage, counters, 0.0)
    outage.look(100.0)
    assert caplog.messages == []


def test_a_database_that_answers_and_fails_by_turns_is_not_back(outage, counters, caplog):
    for tenth in range(50):
        fail(outage, tenth / 10)
        answer(outage, counters, tenth / 10 + 0.05)
    assert caplog.messages == [GONE]
    answer(outage, counters, 5.89)
    assert caplog.messages == [GONE]
    answer(outage, counters, 5.91)
    assert caplog.messages == [GONE, BACK]


def test_a_verdict_that_the_database_had_no_part_in_proves_nothing(outage, counters, caplog):
    counters.store_answers = 7
    fail(outage, 0.0)
    for now in (2.0, 50.0):
        outage.look(now)
    assert caplog.messages == [GONE]
    answer(outage, counters, 51.0)
    assert caplog.messages == [GONE, BACK]


def test_many_threads_say_it_once(outage, counters, caplog):
    barrier = threading.Barrier(50)

    def work(step, *arguments):
        barrier.wait()
        step(*arguments)

    for step, *arguments in ((fail, outage, 0.0), (answer, outage, counters, 9.0)):
        threads = [threading.Thread(target=work, args=(step, *arguments)) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert caplog.messages == [GONE, BACK]
