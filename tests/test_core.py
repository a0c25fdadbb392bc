"""What a service is made of: checked when made, silent about secrets, sound when its parts fail."""

from __future__ import annotations

import asyncio
import gc

import pytest

from either import soon
from keymw import (
    AsyncKeyService,
    KeyNotFound,
    KeyService,
    Reason,
    Settings,
    StoreUnavailable,
)
from keymw.store.sql import SqlStore


@pytest.mark.parametrize("service", [KeyService, AsyncKeyService])
def test_no_repr_shows_a_password(service):
    for url in ("postgresql://u:hunter2@h/n", "postgresql://u@h/n?password=hunter2"):
        assert "hunter2" not in repr(service(url))
        assert "u" in repr(service(url))


@pytest.mark.parametrize("service", [KeyService, AsyncKeyService])
@pytest.mark.parametrize(
    "options", [{"catalog": {"a": ("read",)}}, {"settings": {}}, {"settings": None}], ids=str
)
def test_what_is_misconfigured_is_said_at_once(service, options):
    (name,) = options
    with pytest.raises(TypeError, match=f"^{name}: give"):
        service("sqlite://", **options)


def test_a_token_given_for_an_id_is_not_repeated(keys):
    token = keys.issue_project_key("2", "x", ["other:read"]).token
    for call in (keys.get, keys.revoke, keys.roll, keys.update):
        with pytest.raises(KeyNotFound, match="no key with this id") as caught:
            call(token)
        assert token not in f"{caught.value} {caught.value!r}"
    with pytest.raises(KeyNotFound, match="'key_0'"):
        keys.get("key_0")


async def test_a_change_holds_though_the_database_is_gone_right_after(
    services, sqlite_url, redis_url, monkeypatch
):
    """Nobody can be told then, since what is this database's in Redis, the database says."""
    keys = services(sqlite_url, redis=redis_url)
    await keys.migrate()

    async def gone(self):
        raise StoreUnavailable("The database cannot answer: it is on fire.")

    with monkeypatch.context() as patch:
        patch.setattr(SqlStore, "signing_keys", gone)
        issued = await keys.project_key()
        assert (await keys.revoke(issued.key.id)).acknowledged is False
    assert await keys.reason(issued.token) is Reason.REVOKED
    assert (await keys.revoke(issued.key.id)).acknowledged is True


def test_nothing_is_kept_of_loops_that_were_closed_in_the_middle(sqlite_url):
    service = AsyncKeyService(sqlite_url)
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(service.migrate())
        loop.close()  # with the service's task still in it
        del loop
        gc.collect()
    assert len(service._loops) == 1

    async def ends():
        await service.aclose()

    asyncio.run(ends())
    assert len(service._loops) <= 1


async def test_a_defect_in_listening_is_logged_and_does_not_make_deaf(
    services, sqlite_url, monkeypatch, caplog
):
    quick = Settings(poll_interval=0.05)
    one, other = (services(sqlite_url, settings=quick) for _ in range(2))
    await one.migrate()
    issued = await one.project_key()
    await other.listening()
    assert await other.reason(issued.token) is None
    real, failures = SqlStore.feed, []

    async def feed(self, after, limit):
        if len(failures) < 2:
            failures.append(after)
            raise ValueError("a defect")
        return await real(self, after, limit)

    monkeypatch.setattr(SqlStore, "feed", feed)
    await soon(lambda: len(failures) == 2)
    await one.revoke(issued.key.id)

    async def refused():
        return await other.reason(issued.token) is Reason.REVOKED

    await soon(refused)
    assert caplog.text.count("listening for changes failed and begins anew") == 2
