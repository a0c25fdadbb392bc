"""Callers that ask for one key at the same time cost one question, and share what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading

import pytest

from conftest import eventually
from either import Either, soon
from keymw import (
    AsyncKeyService,
    Denied,
    Granted,
    KeyService,
    Reason,
    Settings,
    StoreUnavailable,
    outage,
)
from keymw.tokens import digest, generate

CALLERS = 200


IMPATIENT = Settings(store_timeout=0.2, redis_timeout=0.01)


async def listens(keys):
    """Wait until the service listens, so that it believes what it keeps for longer than a test."""
    await Either(keys).listening()
    return keys


@pytest.fixture
def soon_over(monkeypatch):
    """Have an outage end with the first answer, and not only after a second without a failure."""
    monkeypatch.setattr(outage, "_QUIET", 0.0)


@pytest.fixture
async def keys(keys):
    return await listens(keys)


@pytest.fixture
async def akeys(akeys):
    return await listens(akeys)


class Gate:
    """Holds a service's store reads until it is opened, and counts them."""

    def __init__(self, keys, opened, *patience, error=None):
        store = keys._deps().store
        self.find, store.find = store.find, self.held
        self.opened = opened
        self.patience = patience
        self.error = error
        self.reads = 0

    async def held(self, digest):
        self.reads += 1
        waited = self.opened.wait(*self.patience)
        if inspect.isawaitable(waited):
            await waited
        if self.error is not None:
            raise self.error
        return await self.find(digest)


def thread_gate(keys, error=None):
    return Gate(keys, threading.Event(), 10, error=error)


def loop_gate(keys, error=None):
    return Gate(keys, asyncio.Event(), error=error)


# ---- threads ----------------------------------------------------------------------------------


def verify_in_threads(keys, token, gate, count=CALLERS):
    """Let many threads ask, open the gate when all of them wait, and return their verdicts."""
    verdicts = []

    def ask():
        with contextlib.suppress(SystemExit):
            verdicts.append(keys.authenticate(token))

    workers = [threading.Thread(daemon=True, target=ask) for _ in range(count)]
    for worker in workers:
        worker.start()
    eventually(lambda: gate.reads == 1 and waiting(keys) == count - 1)
    gate.opened.set()
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()
    assert keys._flights == {}
    return verdicts


def waiting(keys):
    """Return how many threads wait for a load of somebody else."""
    return sum(len(flight.landed._cond._waiters) for flight in list(keys._flights.values()))


def bearer(token):
    return b"Bearer " + token.encode()


def test_many_threads_cost_one_read(keys):
    token = keys.issue_project_key("2", "x", ["other:read"]).token
    gate = thread_gate(keys)
    verdicts = verify_in_threads(keys, bearer(token), gate)
    assert gate.reads == keys.stats().store_reads - 1 == 1
    assert len(verdicts) == CALLERS
    assert {type(verdict) for verdict in verdicts} == {Granted}


def test_threads_share_a_failure_and_the_next_one_asks_anew(keys, caplog, soon_over):
    token = keys.issue_project_key("2", "x", ["other:read"]).token
    gate = thread_gate(keys, error=StoreUnavailable("gone"))
    verdicts = verify_in_threads(keys, bearer(token), gate)
    assert gate.reads == 1
    assert verdicts == [Denied(Reason.UNAVAILABLE)] * CALLERS
    assert [message for message in caplog.messages if "503" in message] == [
        "keymw: requests with API keys are answered 503: gone"
    ]
    gate.error = None
    assert isinstance(keys.verify(token), Granted)
    assert gate.reads == 2
    assert caplog.messages[1:] == ["keymw: the database answers again."]


def test_threads_whose_leader_is_torn_away_get_an_answer(keys):
    token = keys.issue_project_key("2", "x", ["other:read"]).token
    gate = thread_gate(keys, error=SystemExit())
    verdicts = verify_in_threads(keys, bearer(token), gate, 8)
    assert verdicts == [Denied(Reason.UNAVAILABLE)] * 7  # the leader's thread has ended
    gate.error = None
    assert isinstance(keys.verify(token), Granted)


async def test_a_thread_that_waits_in_vain_says_so(sqlite_url):
    with KeyService(sqlite_url, settings=IMPATIENT) as keys:
        keys.migrate()
        token = keys.issue_project_key("2", "x", ["other:read"]).token
        await listens(keys)
        gate = thread_gate(keys)
        leader = threading.Thread(daemon=True, target=keys.verify, args=(token,))
        leader.start()
        eventually(lambda: gate.reads)
        assert keys.verify(token) == Denied(Reason.UNAVAILABLE)
        assert keys._local.get(digest(token.encode()), 0.0) is None
        gate.opened.set()
        leader.join()


def test_a_thread_that_comes_after_a_change_does_not_join(keys):
    issued = keys.issue_project_key("2", "x", ["other:read"])
    gate = thread_gate(keys)
    early = threading.Thread(daemon=True, target=keys.verify, args=(issued.token,))
    early.start()
    eventually(lambda: gate.reads == 1)
    keys.revoke(issued.key.id)
    verdicts = []
    late = threading.Thread(daemon=True, target=lambda: verdicts.append(keys.verify(issued.token)))
    late.start()
    eventually(lambda: gate.reads == 2)
    gate.opened.set()
    early.join()
    late.join()
    assert verdicts == [Denied(Reason.REVOKED)]


# ---- the event loop ---------------------------------------------------------------------------


async def ask(keys, token, count=CALLERS):
    """Start many callers and let each of them get as far as it can."""
    callers = [asyncio.create_task(keys.verify(token)) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return callers


async def test_many_callers_cost_one_read(akeys):
    token = (await akeys.issue_project_key("2", "x", ["other:read"])).token
    gate = loop_gate(akeys)
    callers = await ask(akeys, token)
    gate.opened.set()
    verdicts = await asyncio.gather(*callers)
    assert gate.reads == akeys.stats().store_reads - 1 == 1
    assert {type(verdict) for verdict in verdicts} == {Granted}
    assert akeys._loop().flights == {}


async def test_a_cancelled_leader_takes_nobody_along(akeys):
    token = (await akeys.issue_project_key("2", "x", ["other:read"])).token
    gate = loop_gate(akeys)
    leader, *followers = await ask(akeys, token)
    for caller in (leader, *followers[:50]):
        caller.cancel()
    gate.opened.set()
    verdicts = await asyncio.gather(leader, *followers, return_exceptions=True)
    assert [type(verdict) for verdict in verdicts[:51]] == [asyncio.CancelledError] * 51
    assert {type(verdict) for verdict in verdicts[51:]} == {Granted}
    assert gate.reads == 1


async def test_all_callers_cancelled_leave_a_whole_service(akeys):
    token = (await akeys.issue_project_key("2", "x", ["other:read"])).token
    gate = loop_gate(akeys, error=StoreUnavailable("gone"))
    callers = await ask(akeys, token, 5)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    gate.opened.set()
    await soon(lambda: not akeys._loop().flights)
    assert isinstance(await akeys.verify(token), Denied)
    gate.error = None
    assert isinstance(await akeys.verify(token), Granted)
    assert gate.reads == 3


async def test_callers_share_a_failure_and_the_next_one_asks_anew(akeys, caplog, soon_over):
    token = (await akeys.issue_project_key("2", "x", ["other:read"])).token
    gate = loop_gate(akeys, error=StoreUnavailable("gone"))
    callers = await ask(akeys, token)
    gate.opened.set()
    assert await asyncio.gather(*callers) == [Denied(Reason.UNAVAILABLE)] * CALLERS
    assert gate.reads == 1
    assert caplog.messages == ["keymw: requests with API keys are answered 503: gone"]
    gate.error = None
    assert isinstance(await akeys.verify(token), Granted)
    assert caplog.messages[1:] == ["keymw: the database answers again."]


async def test_a_caller_that_waits_in_vain_says_so(sqlite_url):
    async with AsyncKeyService(sqlite_url, settings=IMPATIENT) as keys:
        await keys.migrate()
        token = (await keys.issue_project_key("2", "x", ["other:read"])).token
        await listens(keys)
        gate = loop_gate(keys)
        assert await keys.verify(token) == Denied(Reason.UNAVAILABLE)
        assert await keys.verify(token) == Denied(Reason.UNAVAILABLE)
        assert gate.reads == 1
        assert keys._local.get(digest(token.encode()), 0.0) is None
        gate.opened.set()
        await soon(lambda: keys.stats().l1_size)
        assert isinstance(await keys.verify(token), Granted)


async def test_a_caller_that_comes_after_a_change_does_not_join(akeys):
    issued = await akeys.issue_project_key("2", "x", ["other:read"])
    gate = loop_gate(akeys)
    (early,) = await ask(akeys, issued.token, 1)
    await akeys.revoke(issued.key.id)
    (late,) = await ask(akeys, issued.token, 1)
    assert gate.reads == 2
    gate.opened.set()
    assert await late == Denied(Reason.REVOKED)
    assert await early == Denied(Reason.REVOKED)  # read after the change: right, too


@pytest.mark.parametrize("error", [RuntimeError("a defect"), KeyError("x")])
async def test_a_defect_is_raised_to_everybody(akeys, error):
    gate = loop_gate(akeys, error=error)
    callers = await ask(akeys, generate("phs_"), 3)
    gate.opened.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert results == [error] * 3
