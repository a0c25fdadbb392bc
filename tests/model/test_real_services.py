"""Schedules about what services add to the flows, and the database: played on the real ones.

Each is played as it is, and once more with its guard taken out, when it must go wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading

import psycopg
import pytest
from sqlalchemy import create_engine, func, select, text, true
from sqlalchemy.orm import Session

from conftest import eventually
from keymw import AsyncKeyService, Granted, KeyService, Reason, StoreUnavailable
from keymw._step import run_now
from keymw.store import statements
from keymw.store.schema import counter, events
from model.scheduler import Violation
from model.taking_out import take_out
from test_single_flight import ask, listens, loop_gate, thread_gate, waiting


def must(held, what):
    if not held:
        raise Violation(what)


@contextlib.contextmanager
def without(monkeypatch, cut, schedule_breaks):
    """Take a guard out, if there is one to take out, and expect what becomes of it."""
    if cut is None:
        yield
        return
    take_out(monkeypatch, *cut)
    with pytest.raises(schedule_breaks):
        yield


# ---- a follower joining a flight started before the revoke --------------------------------------

_NAMED = "(key, self._local.generation)"


@pytest.mark.parametrize("cut", [None, (KeyService._join, _NAMED, "(key, 0)")])
async def test_a_thread_joining_a_flight_started_before_the_revoke(keys, monkeypatch, cut):
    await listens(keys)
    issued = keys.issue_project_key("2", "x", ["other:read"])
    gate = thread_gate(keys)
    verdicts = []

    def verify():
        verdicts.append(keys.verify(issued.token))

    with without(monkeypatch, cut, Violation):
        threads = [threading.Thread(target=verify, daemon=True) for _ in range(2)]
        threads[0].start()
        eventually(lambda: gate.reads == 1)
        keys.revoke(issued.key.id)
        threads[1].start()
        eventually(lambda: gate.reads == 2 or waiting(keys) == 1)
        joined = gate.reads == 1
        gate.opened.set()
        for thread in threads:
            thread.join(10)
        must(not joined, "a request joined a lookup that had begun before the revoke")
        assert {verdict.reason for verdict in verdicts} == {Reason.REVOKED}


@pytest.mark.parametrize("cut", [None, (AsyncKeyService._join, _NAMED, "(key, 0)")])
async def test_a_task_joining_a_flight_started_before_the_revoke(akeys, monkeypatch, cut):
    await listens(akeys)
    issued = await akeys.issue_project_key("2", "x", ["other:read"])
    gate = loop_gate(akeys)
    with without(monkeypatch, cut, Violation):
        (early,) = await ask(akeys, issued.token, 1)
        await akeys.revoke(issued.key.id)
        (late,) = await ask(akeys, issued.token, 1)
        joined = gate.reads == 1
        gate.opened.set()
        verdicts = [await early, await late]
        must(not joined, "a request joined a lookup that had begun before the revoke")
        assert {verdict.reason for verdict in verdicts} == {Reason.REVOKED}


# ---- a leader cancelled with followers waiting --------------------------------------------------

_WAITED_FOR = "done, _ = await asyncio.wait({flight}, timeout=self.settings.patience)"


@pytest.mark.parametrize(
    "cut", [None, (AsyncKeyService._join, _WAITED_FOR, "done = [await flight]")]
)
async def test_a_leader_cancelled_with_followers_waiting(akeys, monkeypatch, cut):
    await listens(akeys)
    token = (await akeys.issue_project_key("2", "x", ["other:read"])).token
    gate = loop_gate(akeys)
    with without(monkeypatch, cut, Violation):
        leader, *followers = await ask(akeys, token, 5)
        leader.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        verdicts = await asyncio.gather(*followers, return_exceptions=True)
        must(
            all(isinstance(verdict, Granted) for verdict in verdicts),
            "a follower was cancelled with its leader",
        )


# ---- a failing loader retried once per waiter ---------------------------------------------------


@pytest.mark.parametrize(
    "cut",
    [
        None,
        (KeyService._join, "raise flight.error", "return await flows.load(self._deps(), key)"),
    ],
)
async def test_a_failing_loader_in_threads_retried_once_per_waiter(keys, monkeypatch, cut):
    await listens(keys)
    token = keys.issue_project_key("2", "x", ["other:read"]).token
    gate = thread_gate(keys, error=StoreUnavailable("gone"))
    with without(monkeypatch, cut, Violation):
        threads = [threading.Thread(target=keys.verify, args=(token,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        eventually(lambda: gate.reads == 1 and waiting(keys) == 7)
        gate.opened.set()
        for thread in threads:
            thread.join(10)
        must(gate.reads == 1, "each waiter asked a database that had just failed")


@pytest.mark.parametrize(
    "cut",
    [
        None,
        (
            AsyncKeyService._join,
            "return flight.result() if done",
            "return await flows.load(state.deps, key) if done",
        ),
    ],
)
async def test_a_failing_loader_in_tasks_retried_once_per_waiter(akeys, monkeypatch, cut):
    await listens(akeys)
    token = (await akeys.issue_project_key("2", "x", ["other:read"])).token
    gate = loop_gate(akeys, error=StoreUnavailable("gone"))
    with without(monkeypatch, cut, Violation):
        callers = await ask(akeys, token, 8)
        gate.opened.set()
        await asyncio.gather(*callers)
        must(gate.reads == 1, "each waiter asked a database that had just failed")


# ---- a fork that inherits a lease ---------------------------------------------------------------

_FORK = """
import os, sys, threading, time
from keymw import KeyService
from keymw.core import Core

if sys.argv[2]:
    Core.after_fork = lambda service: None
keys = KeyService(sys.argv[1])
token = keys.issue_project_key("2", "x", ["other:read"]).token
while time.monotonic() >= keys._local.fence.until or not keys.stats().l1_size:
    keys.verify(token)
child = os.fork()
if not child:
    inherited = time.monotonic() < keys._local.fence.until or keys.stats().l1_size
    os._exit(7 if inherited else 0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(("cut", "code"), [("", 0), ("without", 7)])
def test_a_fork_that_inherits_a_lease(migrated_url, cut, code):
    command = [sys.executable, "-c", _FORK, migrated_url, cut]
    assert subprocess.run(command, timeout=60, check=False).returncode == code


# ---- feed numbers committed out of order --------------------------------------------------------


def _loosen(monkeypatch, url):
    """Number events by a sequence, as tables usually are: without a lock that orders commits."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE loose START 100")
    monkeypatch.setattr(statements, "NEXT_SEQ", text("SELECT nextval('loose')"))
    position = select(func.max(events.c.seq)).scalar_subquery().label("position")
    newest = statements._newest
    rows = counter.outerjoin(newest, true())
    feed = select(position, newest).select_from(rows).where(counter.c.name == "events")
    monkeypatch.setattr(statements, "FEED", feed.order_by(newest.c.seq))


@pytest.mark.parametrize("is_loose", [False, True], ids=["as it is", "without the guard"])
def test_feed_numbers_committed_out_of_order(postgres_url, monkeypatch, is_loose):
    with KeyService(postgres_url) as keys:
        keys.migrate()
        ids = [keys.issue_project_key("2", label, ["other:read"]).key.id for label in "ab"]
        if is_loose:
            _loosen(monkeypatch, postgres_url)
            with pytest.raises(Violation):
                _commit_out_of_order(keys, postgres_url, ids)
        else:
            _commit_out_of_order(keys, postgres_url, ids)


def _commit_out_of_order(keys, url, ids):
    store = keys._deps().store
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    with psycopg.connect(url, autocommit=True) as spy, Session(engine) as slow:
        keys.within(slow).revoke(ids[0])
        quick = threading.Thread(target=keys.revoke, args=(ids[1],), daemon=True)
        quick.start()
        eventually(lambda: not quick.is_alive() or _waits(spy))
        position, heard = run_now(store.feed(0, 100))
        slow.commit()
        quick.join(10)
    engine.dispose()
    heard = {change.seq for change in heard}
    heard |= {change.seq for change in run_now(store.feed(position, 100))[1]}
    everything = {change.seq for change in run_now(store.feed(0, 100))[1]}
    must(heard == everything, "a change was committed behind the back of who follows the feed")


def _waits(spy):
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return spy.execute(waiting).fetchone()
