"""Services in memory: the real thing, but for the database and Redis."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from either import Either
from keymw import InvalidInput, KeyService, Reason, ScopeCatalog, Settings, StoreUnavailable
from keymw.testing import (
    MovableClock,
    async_memory_service,
    memory_service,
    redis_down,
    store_down,
)
from testing.apps import PATH, flask_app, starlette_app


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture(params=[memory_service, async_memory_service], ids=["blocking", "async"])
async def make(request, clock):
    made = []

    def make(**options):
        made.append(Either(request.param(clock=clock, **options)))
        return made[-1]

    before = threading.active_count()
    yield make
    for keys in made:
        await keys.close()
    assert threading.active_count() == before


async def test_a_keys_whole_life(make, clock):
    keys = make()
    issued = await keys.project_key()
    assert await keys.reason(issued.token) is None
    rolled = await keys.roll(issued.key.id, grace=timedelta(hours=1))
    assert await keys.reason(issued.token) is None
    clock.advance(timedelta(hours=1))
    assert await keys.reason(issued.token) is Reason.ROLLED
    assert await keys.reason(rolled.token) is None
    await keys.update(issued.key.id, expires_at=clock.now() + timedelta(days=1))
    clock.advance(86_399)
    assert await keys.reason(rolled.token) is None
    clock.advance(1)
    assert await keys.reason(rolled.token) is Reason.EXPIRED
    person = await keys.personal_key()
    await keys.deactivate_user("ann")
    assert await keys.reason(person.token) is Reason.OWNER_INACTIVE
    assert [event.action for event in await keys.history(key_id=issued.key.id)]
    assert (await keys.get(issued.key.id)).last_used_at is not None
    await keys.migrate()


async def test_a_catalog_and_settings(make):
    keys = make(
        catalog=ScopeCatalog({"item": ("read",)}, project_secret=["item:read"]),
        settings=Settings(max_keys_per_project=1),
    )
    await keys.project_key(["item:read"])
    with pytest.raises(InvalidInput):
        await keys.project_key(["item:read"])
    with pytest.raises(InvalidInput):
        await keys.personal_key(scopes=["other:read"])
    assert "in memory" in repr(keys.service)


async def test_each_has_keys_of_its_own(make):
    token = (await make().project_key()).token
    assert await make().reason(token) is Reason.INVALID


async def test_the_store_is_down(make, clock, caplog):
    keys = make()
    cached, cold = [(await keys.project_key()).token for _ in range(2)]
    assert await keys.reason(cached) is None
    with store_down(keys.service):
        assert await keys.reason(cached) is None
        assert await keys.reason(cold) is Reason.UNAVAILABLE
        with pytest.raises(StoreUnavailable):
            await keys.project_key()
        # Within the bound the lease ends, and with it what the cache is believed for.
        clock.advance(keys.service.settings.unacknowledged_bound)
        assert await keys.reason(cached) is Reason.UNAVAILABLE
    assert await keys.reason(cached) is None
    assert await keys.reason(cold) is None
    assert "answered 503" in caplog.text


async def test_redis_is_down(make, clock, caplog):
    keys = make(redis=True)
    issued = await keys.project_key()
    assert (await keys.update(issued.key.id, label="new")).propagation.acknowledged
    assert await keys.reason(issued.token) is None
    with redis_down(keys.service):
        for _ in range(3):
            clock.advance(keys.service.settings.acknowledged_bound)
            # One question to the store a second, for a key in use.
            moved = await keys.counted(keys.reason(issued.token))
            assert moved == {"store_reads": 1}
            assert await keys.counted(keys.reason(issued.token)) == {"l1_hits": 1}
        assert not (await keys.update(issued.key.id, label="newer")).propagation.acknowledged
    assert "Redis cannot be used" in caplog.text
    clock.advance(60)
    assert await keys.reason(issued.token) is None
    assert (await keys.revoke(issued.key.id)).acknowledged
    assert await keys.reason(issued.token) is Reason.REVOKED


async def test_redis_in_memory_is_a_second_cache(make, clock):
    keys = make(redis=True)
    token = (await keys.project_key()).token
    assert await keys.reason(token) is None
    # L1 forgets; what is in Redis is as old as it is, and counts until it is too old as well.
    keys.service._local.clear()
    assert await keys.counted(keys.reason(token)) == {"l2_hits": 1}
    clock.advance(keys.service.settings.max_age)
    assert await keys.counted(keys.reason(token)) == {"store_reads": 1}


async def test_both_are_down(make, clock):
    keys = make(redis=True)
    token = (await keys.project_key()).token
    assert await keys.reason(token) is None
    with store_down(keys.service):
        with redis_down(keys.service):
            clock.advance(1)
            assert await keys.reason(token) is Reason.UNAVAILABLE
        # The other lease has not ended yet.
        clock.advance(1)
        assert await keys.reason(token) is None
    assert await keys.reason(token) is None


def test_only_a_service_in_memory_can_be_switched_off(sqlite_url):
    for switch, keys in (
        (store_down, KeyService(sqlite_url)),
        (redis_down, KeyService(sqlite_url)),
        (redis_down, memory_service()),
    ):
        with pytest.raises(InvalidInput, match="keys: "), switch(keys):
            pass


def test_a_clock_only_goes_on():
    clock = MovableClock(datetime(2026, 1, 1, tzinfo=UTC))
    monotonic = clock.monotonic()
    clock.advance(1.5)
    clock.advance(timedelta(seconds=1))
    assert clock.now() == datetime(2026, 1, 1, 0, 0, 2, 500_000, tzinfo=UTC)
    assert clock.monotonic() == monotonic + 2.5
    assert "2026-01-01T00:00:02.5" in repr(clock)
    with pytest.raises(InvalidInput):
        clock.advance(-1)
    with pytest.raises(InvalidInput):
        MovableClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is refused


async def test_an_app_factory_takes_it(keymw_async_service, keymw_clock):
    """What a test issues in its own loop, the client's loop knows."""
    keys = keymw_async_service
    issued = await keys.issue_project_key(
        "2", "x", ["item:read"], expires_at=keymw_clock.now() + timedelta(hours=1)
    )
    headers = {"Authorization": f"Bearer {issued.token}"}
    with TestClient(starlette_app(keys)) as client:
        assert client.get(PATH, headers=headers).status_code == 200
        with store_down(keys):
            assert client.get(PATH, headers=headers).status_code == 200
            keymw_clock.advance(10)
            answer = client.get(PATH, headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        keymw_clock.advance(timedelta(hours=1))
        assert client.get(PATH, headers=headers).json()["code"] == "expired_key"


def test_the_same_under_wsgi(keymw_service):
    issued = keymw_service.issue_project_key("2", "x", ["item:read"])
    client = flask_app(keymw_service).test_client()
    headers = {"Authorization": f"Bearer {issued.token}"}
    assert client.get(PATH, headers=headers).text == issued.key.id
    keymw_service.revoke(issued.key.id)
    assert client.get(PATH, headers=headers).json["code"] == "revoked_key"
