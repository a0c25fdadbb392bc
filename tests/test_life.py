"""Keys through their life, on both faces and both databases: rolled, edited, limited, given up."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from keymw import Reason, Settings
from keymw.errors import (
    InvalidInput,
    KeyLimitReached,
    KeyNotFound,
    KeyNotUsable,
    VersionConflict,
)
from keymw.model import Outcome
from keymw.tokens import digest_of, generate

HOUR = timedelta(hours=1)


@pytest.fixture
async def service(services, database_url, clock):
    made = services(database_url, clock=clock)
    await made.migrate()
    await made.believing()
    return made


# ---- roll --------------------------------------------------------------------------------------


async def test_a_roll_keeps_everything_but_the_secret(service, clock):
    issued = await service.project_key(actor="user-7")
    rolled = await service.roll(issued.key.id, actor="user-8")
    new, old = rolled.key, issued.key
    assert (new.id, new.label, new.scopes, new.created_by) == (
        old.id,
        old.label,
        old.scopes,
        "user-7",
    )
    assert new.last_rolled_at == clock.now()
    assert new.mask == f"phs_...{rolled.token[-4:]}" != old.mask
    assert await service.reason(issued.token) is Reason.ROLLED
    assert await service.reason(rolled.token) is None


async def test_the_old_secret_works_until_its_grace_ends(service, clock):
    issued = await service.project_key()
    rolled = await service.roll(issued.key.id, grace=HOUR)
    until = clock.now() + HOUR
    clock.advance(HOUR.total_seconds() - 0.001)
    principal = (await service.verify(issued.token)).principal
    assert (principal.mask, principal.retired_until) == (issued.key.mask, until)
    principal = (await service.verify(rolled.token)).principal
    assert (principal.mask, principal.retired_until) == (rolled.key.mask, None)
    clock.advance(0.001)
    assert await service.reason(issued.token) is Reason.ROLLED


async def test_rolling_again_never_extends_a_grace(service, clock):
    first = await service.project_key()
    second = await service.roll(first.key.id, grace=HOUR)
    end = clock.now() + HOUR
    clock.advance(60)
    third = await service.roll(first.key.id, grace=5 * HOUR)
    found = (await service.get(first.key.id)).retired
    assert [(old.mask, old.valid_until) for old in found] == [
        (second.key.mask, clock.now() + 5 * HOUR),
        (first.key.mask, end),
    ]
    clock.advance(HOUR.total_seconds())
    reasons = [await service.reason(each.token) for each in (first, second, third)]
    assert reasons == [Reason.ROLLED, None, None]


async def test_revoking_ends_both_secrets(service):
    issued = await service.project_key()
    rolled = await service.roll(issued.key.id, grace=HOUR)
    await service.revoke(issued.key.id)
    for token in (issued.token, rolled.token):
        assert await service.reason(token) is Reason.REVOKED


async def test_the_log_says_until_when_the_old_secret_works(service, clock):
    issued = await service.project_key()
    await service.roll(issued.key.id, grace=HOUR, actor="user-7")
    (rolled, _) = await service.history(key_id=issued.key.id)
    assert rolled.before == {"mask": issued.key.mask}
    assert rolled.after["old_secret_until"] == (clock.now() + HOUR).isoformat()


# ---- two editors -------------------------------------------------------------------------------


async def test_the_second_of_two_editors_is_told(service):
    key = (await service.project_key()).key
    changed = await service.update(key.id, label="mine", version=key.version)
    with pytest.raises(VersionConflict) as conflict:
        await service.update(key.id, label="theirs", version=key.version)
    assert conflict.value.current == changed.version == 2
    with pytest.raises(VersionConflict):
        await service.roll(key.id, version=key.version)
    assert (await service.get(key.id)).label == "mine"
    assert (await service.roll(key.id, version=2)).key.version == 3


async def test_of_two_rolls_at_once_one_is_made(services, database_url):
    one, other = services(database_url), services(database_url)
    await one.migrate()
    key = (await one.project_key()).key

    def roll(service):
        return asyncio.to_thread(asyncio.run, attempt(service))

    async def attempt(service):
        try:
            return await service.roll(key.id, version=1)
        except VersionConflict as error:
            return error.current

    found = await asyncio.gather(roll(one), roll(other))
    assert found.count(2) == 1
    (rolled,) = [each for each in found if each != 2]
    assert await one.reason(rolled.token) is None


@pytest.mark.parametrize("version", [0, -1, "1", True, 1.0])
async def test_a_version_is_a_positive_number(service, version):
    key = (await service.project_key()).key
    with pytest.raises(InvalidInput, match="version"):
        await service.update(key.id, label="x", version=version)
    with pytest.raises(InvalidInput, match="version"):
        await service.roll(key.id, version=version)


# ---- expiry ------------------------------------------------------------------------------------


async def test_an_entry_never_outlives_its_key(service, clock):
    issued = await service.project_key(expires_at=clock.now() + timedelta(milliseconds=50))
    assert await service.reason(issued.token) is None
    clock.advance(0.0499)
    assert await service.reason(issued.token) is None
    clock.advance(0.0001)
    assert await service.reason(issued.token) is Reason.EXPIRED


async def test_the_end_can_be_moved(service, clock):
    key = (await service.project_key(expires_at=clock.now() + HOUR)).key
    assert (await service.update(key.id, label="x")).expires_at == clock.now() + HOUR
    later = clock.now() + 2 * HOUR
    assert (await service.update(key.id, expires_at=later)).expires_at == later
    assert (await service.update(key.id, expires_at=None)).expires_at is None
    with pytest.raises(InvalidInput, match=r"expires_at: .* is in the past"):
        await service.update(key.id, expires_at=clock.now())
    with pytest.raises(InvalidInput, match="time zone"):
        await service.update(key.id, expires_at=clock.now().replace(tzinfo=None))


async def test_an_expired_key_cannot_be_given_more_time(service, clock):
    key = (await service.project_key(expires_at=clock.now() + HOUR)).key
    clock.advance(HOUR.total_seconds())
    with pytest.raises(KeyNotUsable, match="expired"):
        await service.update(key.id, expires_at=None)


# ---- limits ------------------------------------------------------------------------------------


@pytest.fixture
async def narrow(services, database_url, clock):
    settings = Settings(max_keys_per_project=2, max_keys_per_user=2)
    made = services(database_url, clock=clock, settings=settings)
    await made.migrate()
    return made


async def test_the_limit_of_a_project(narrow):
    first = await narrow.project_key()
    await narrow.project_key()
    await narrow.issue_project_key("3", "other", ["endpoint:read"])
    with pytest.raises(KeyLimitReached) as error:
        await narrow.project_key()
    assert error.value.field == "project_id"
    assert "2 keys" in str(error.value)
    assert len(await narrow.list(project_id="2")) == 2
    await narrow.revoke(first.key.id)
    await narrow.project_key()


async def test_the_limit_of_a_user_counts_live_keys(narrow, clock):
    await narrow.personal_key(expires_at=clock.now() + HOUR)
    await narrow.personal_key()
    with pytest.raises(KeyLimitReached) as error:
        await narrow.personal_key()
    assert error.value.field == "user_id"
    clock.advance(HOUR.total_seconds())
    await narrow.personal_key()


async def test_what_is_imported_counts_but_is_never_refused(narrow):
    for number in range(3):
        digest = f"sha256${number:064x}"
        await narrow.import_key("project_secret", digest, f"k{number}", ["a:read"], project_id="2")
    with pytest.raises(KeyLimitReached):
        await narrow.project_key()


async def test_two_at_once_at_the_limit(services, database_url):
    settings = Settings(max_keys_per_project=1)
    pair = [services(database_url, settings=settings) for _ in range(2)]
    await pair[0].migrate()

    async def attempt(service):
        try:
            return await service.project_key()
        except KeyLimitReached as error:
            return error

    jobs = [asyncio.to_thread(asyncio.run, attempt(service)) for service in pair]
    found = await asyncio.gather(*jobs)
    assert sum(isinstance(each, KeyLimitReached) for each in found) == 1
    assert len(await pair[0].list(project_id="2")) == 1


# ---- offboarding -------------------------------------------------------------------------------


async def test_whoever_leaves_leaves_a_list(service, clock):
    mine = await service.project_key(actor="user-7")
    gone = await service.project_key(actor="user-7")
    await service.revoke(gone.key.id)
    short = await service.project_key(actor="user-7", expires_at=clock.now() + HOUR)
    clock.advance(HOUR.total_seconds())
    await service.project_key(actor="user-8")
    personal = [await service.personal_key("user-7", actor="user-7") for _ in range(2)]
    ended = await service.deactivate_user("user-7", actor="user-8")
    assert ended.personal_keys == 2
    assert [key.id for key in ended.project_keys] == [mine.key.id]
    assert ended.bound > timedelta(0)
    for issued in personal:
        assert await service.reason(issued.token) is Reason.OWNER_INACTIVE
    assert await service.reason(mine.token) is None
    again = await service.deactivate_user("user-7")
    assert [key.id for key in again.project_keys] == [mine.key.id]
    ids = {issued.key.id for issued in (mine, short, *personal)}
    assert {key.id for key in await service.list(created_by="user-7")} == ids


# ---- pages -------------------------------------------------------------------------------------


async def test_keys_come_in_pages(service, clock):
    made = []
    for _ in range(5):
        made.append((await service.project_key()).key.id)
        clock.advance(len(made) % 2)
    expected = [key.id for key in await service.list()]
    assert sorted(expected) == sorted(made)
    pages, after = [], None
    while page := await service.list(limit=2, after=after):
        pages.append([key.id for key in page])
        after = pages[-1][-1]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [key for page in pages for key in page] == expected
    assert await service.list(after=expected[-1]) == []
    with pytest.raises(InvalidInput, match="after: there is no key"):
        await service.list(after="key_unknown")


async def test_the_log_comes_in_pages_and_by_actor(service):
    key = (await service.project_key(actor="user-7")).key
    for number in range(4):
        await service.update(key.id, label=f"x{number}", actor=f"user-{number % 2}")
    whole = await service.history()
    assert [event.seq for event in whole] == [5, 4, 3, 2, 1]
    assert [event.seq for event in await service.history(limit=2, before=4)] == [3, 2]
    assert [event.seq for event in await service.history(actor="user-1")] == [5, 3]
    assert await service.history(actor="user-9") == []


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": True}, {"limit": "2"}])
async def test_pages_have_a_size(service, given):
    with pytest.raises(InvalidInput, match="limit"):
        await service.list(**given)
    with pytest.raises(InvalidInput, match="limit"):
        await service.history(**given)


@pytest.mark.parametrize("before", ["5", True, 1.5, 0, -1, 2**63])
async def test_events_are_named_by_number(service, before):
    with pytest.raises(InvalidInput, match="before"):
        await service.history(before=before)


# ---- reasons and leaks -------------------------------------------------------------------------


async def test_why_stands_in_the_log(service):
    key = (await service.project_key()).key
    await service.revoke(key.id, reason="the integration was shut down", actor="user-7")
    (revoked, issued) = await service.history(key_id=key.id)
    assert (revoked.reason, issued.reason) == ("the integration was shut down", None)


@pytest.mark.parametrize("reason", ["", "x" * 501, "a\nb", 5, "a\u202eb"])
async def test_a_reason_can_be_read(service, reason):
    key = (await service.project_key()).key
    with pytest.raises(InvalidInput, match="reason"):
        await service.revoke(key.id, reason=reason)
    assert (await service.get(key.id)).revoked_at is None


async def test_a_token_names_its_key(service):
    issued = await service.project_key()
    rolled = await service.roll(issued.key.id)
    for token in (issued.token, rolled.token):
        assert (await service.find_by_token(token)).id == issued.key.id
    await service.revoke(issued.key.id)
    assert (await service.find_by_token(rolled.token)).revoked_at is not None
    assert await service.find_by_token(generate("phs_")) is None
    assert await service.find_by_token("\ud800 no token at all") is None
    with pytest.raises(TypeError):
        await service.find_by_token(b"phs_")


async def test_a_leaked_key_is_revoked(service):
    issued = await service.project_key()
    leak = await service.report_leak(issued.token, source="https://example.org/x", actor="user-7")
    assert (leak.outcome, leak.key.id) == (Outcome.REVOKED, issued.key.id)
    assert leak.key.revoked_at is not None
    assert leak.propagation.bound > timedelta(0)
    assert await service.reason(issued.token) is Reason.REVOKED
    event = (await service.history(key_id=issued.key.id))[0]
    assert (event.reason, event.actor) == ("leaked: https://example.org/x", "user-7")
    again = await service.report_leak(issued.token)
    assert (again.outcome, again.propagation) == (Outcome.ENDED, None)


async def test_a_dead_secret_costs_nobody_their_key(service):
    issued = await service.project_key()
    rolled = await service.roll(issued.key.id)
    leak = await service.report_leak(issued.token)
    assert (leak.outcome, leak.key.id) == (Outcome.ENDED, issued.key.id)
    assert await service.reason(rolled.token) is None


async def test_a_secret_in_its_grace_is_a_leak(service):
    issued = await service.project_key()
    rolled = await service.roll(issued.key.id, grace=HOUR)
    assert (await service.report_leak(issued.token)).outcome is Outcome.REVOKED
    assert await service.reason(rolled.token) is Reason.REVOKED


def meddling(service, monkeypatch, change, times):
    """Have somebody change the key each time that a secret has been looked up."""
    store = service.deps.store
    find = store.find

    async def find_and_change(digest):
        nonlocal times
        record = await find(digest)
        if times:
            times -= 1
            await change(record.key_id)
        return record

    monkeypatch.setattr(store, "find", find_and_change)


async def test_a_leak_is_judged_as_the_key_is_when_it_is_revoked(service, monkeypatch):
    issued = await service.project_key()
    rolled = []

    async def roll(key_id):
        rolled.append(await service.roll(key_id))

    meddling(service, monkeypatch, roll, 1)
    leak = await service.report_leak(issued.token)
    assert (leak.outcome, leak.key.id) == (Outcome.ENDED, issued.key.id)
    assert await service.reason(rolled[-1].token) is None


async def test_a_leaked_key_that_is_edited_all_the_time_is_revoked_all_the_same(
    service, monkeypatch
):
    issued = await service.project_key()
    labels = iter(range(100))

    async def rename(key_id):
        await service.update(key_id, label=f"number {next(labels)}")

    meddling(service, monkeypatch, rename, 100)
    assert (await service.report_leak(issued.token)).outcome is Outcome.REVOKED
    assert (await service.get(issued.key.id)).revoked_at is not None


async def test_a_user_who_comes_back_does_not_bring_a_leaked_key(service):
    issued = await service.personal_key()
    await service.deactivate_user("ann")
    assert (await service.report_leak(issued.token)).outcome is Outcome.REVOKED
    await service.activate_user("ann")
    assert await service.reason(issued.token) is Reason.REVOKED


async def test_an_unknown_token_is_no_leak(service):
    leak = await service.report_leak(generate("phs_"))
    assert (leak.outcome, leak.key, leak.propagation) == (Outcome.UNKNOWN, None, None)
    with pytest.raises(TypeError):
        await service.report_leak(None)
    with pytest.raises(InvalidInput, match="source"):
        await service.report_leak("x", source="")


async def test_unknown_keys_are_said_to_be_so(service):
    for attempt in (service.get, service.roll, service.revoke, service.update):
        with pytest.raises(KeyNotFound):
            await attempt("key_0")


# ---- keys that were made elsewhere -------------------------------------------------------------


@pytest.mark.parametrize("field", ["mask", "label", "project_id"])
async def test_no_secret_is_stored_as_what_people_see(service, field):
    token = "old-secret-1"
    shown = {"label": "old", "project_id": "2", "mask": "old..."} | {field: f"({token})"}
    with pytest.raises(InvalidInput, match=f"{field}: it holds the secret") as caught:
        await service.import_key(
            "project_secret", digest_of(token).hex(), scopes=["a:read"], **shown
        )
    assert token not in str(caught.value)
    assert await service.list() == []
    with pytest.raises(InvalidInput, match="mask: it shows too much"):
        await service.import_key(
            "project_secret", "0" * 64, "old", ["a:read"], project_id="2", mask="x" * 32
        )
