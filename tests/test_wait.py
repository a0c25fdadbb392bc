"""`wait=True`: a change returns only when it holds everywhere, whatever has broken."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from keymw import AsyncKeyService, KeyNotFound, Reason, Settings, StoreUnavailable
from keymw.store.sql import SqlStore

SHORT = Settings(acknowledged_bound=0.3, unacknowledged_bound=0.4, poll_interval=0.05)
#: What no test waits for, unless it fails.
LONG = Settings(unacknowledged_bound=20.0)
NOW = timedelta(0)

CHANGES = {
    "revoke": (lambda one, key, **how: one.revoke(key, **how), Reason.REVOKED),
    "roll": (lambda one, key, **how: one.roll(key, **how), Reason.ROLLED),
    "update": (lambda one, key, **how: one.update(key, scopes=["new:read"], **how), None),
    "deactivate": (
        lambda one, _, **how: one.deactivate_user("ann", **how),
        Reason.OWNER_INACTIVE,
    ),
    "activate": (lambda one, _, **how: one.activate_user("ann", **how), None),
}


@pytest.fixture(params=["redis", "alone"])
async def pair(request, services, migrated_url):
    """Two services, which believe for no longer than the test has patience."""
    redis = request.getfixturevalue("redis_url") if request.param == "redis" else None
    return [services(migrated_url, redis=redis, settings=SHORT) for _ in range(2)]


@pytest.fixture
def deaf(monkeypatch):
    """Have nobody hear of anything: all that there is are the leases, which run out."""

    async def gone(*_):
        raise StoreUnavailable("gone")

    def make():
        monkeypatch.setattr(SqlStore, "feed", gone)

    return make


async def timed(change):
    """Return what a change returns, and for how many seconds it has waited."""
    before = time.monotonic()
    result = await change
    return result, time.monotonic() - before


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
async def test_a_change_that_waits_holds_everywhere_when_it_returns(pair, change, reason):
    one, other = pair
    issued = await one.personal_key()
    if change is CHANGES["activate"][0]:
        await one.deactivate_user("ann")
    await other.verify(issued.token)
    told, waited = await timed(change(one, issued.key.id, wait=True))
    verdict = await other.verify(issued.token)
    told = getattr(told, "propagation", told)
    assert (told.acknowledged, told.bound) == (one.deps.shared is not None, NOW)
    assert waited >= SHORT.unacknowledged_bound
    assert getattr(verdict, "reason", None) is reason
    if change is CHANGES["update"][0]:
        assert verdict.principal.scopes == {"new:read"}


@pytest.mark.parametrize(("change", "reason"), CHANGES.values(), ids=CHANGES)
async def test_without_waiting_the_bound_is_said_instead(pair, change, reason):
    one, _ = pair
    issued = await one.personal_key()
    told = await change(one, issued.key.id)
    told = getattr(told, "propagation", told)
    acknowledged = one.deps.shared is not None
    bound = SHORT.acknowledged_bound if acknowledged else SHORT.unacknowledged_bound
    assert (told.acknowledged, told.bound) == (acknowledged, timedelta(seconds=bound))


async def test_it_holds_for_a_process_that_hears_nothing_at_all(pair, deaf):
    one, other = pair
    issued = await one.project_key()
    assert await other.reason(issued.token) is None
    deaf()
    other.service._local.invalidate = lambda _: True
    await one.revoke(issued.key.id, wait=True)
    assert await other.reason(issued.token) is Reason.REVOKED


async def test_what_fails_does_not_wait(services, migrated_url):
    one = services(migrated_url, settings=LONG)
    started = time.monotonic()
    for change in (one.revoke, one.roll, one.update):
        with pytest.raises(KeyNotFound):
            await change("key_0", wait=True)
    assert time.monotonic() < started + LONG.unacknowledged_bound


async def test_the_event_loop_goes_on_meanwhile(migrated_url):
    async with AsyncKeyService(migrated_url, settings=LONG) as keys:
        issued = await keys.issue_project_key("2", "x", ["other:read"])
        revoking = asyncio.create_task(keys.revoke(issued.key.id, wait=True))
        while not (await keys.get(issued.key.id)).revoked_at:
            assert not revoking.done()
        assert (await keys.verify(issued.token)).reason is Reason.REVOKED
        assert not revoking.done()
        revoking.cancel()  # the wait, and not the change
        with pytest.raises(asyncio.CancelledError):
            await revoking
        assert (await keys.verify(issued.token)).reason is Reason.REVOKED
