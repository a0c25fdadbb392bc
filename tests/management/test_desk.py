"""What the desk itself promises to whoever stands on it, the console too."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keymw import InvalidInput, ServicePrincipal, UserPrincipal
from keymw.errors import VersionConflict
from keymw.management.desk import Desk
from keymw.management.problems import Forbidden, NotFound

SCOPES = frozenset({"api_key:write", "endpoint:write", "batch:read"})


class Meddled:
    """A service that somebody else changes keys of, right before a change of the desk's."""

    def __init__(self, keys, meddle):
        self._keys = keys
        self._meddle = meddle

    def __getattr__(self, name):
        method = getattr(self._keys, name)
        if name not in ("update", "roll"):
            return method

        async def call(key_id, **options):
            await self._meddle(key_id)
            return await method(key_id, **options)

        return call


@pytest.fixture
async def caller(akeys):
    key = (await akeys.issue_personal_key("user-7", "desk", SCOPES)).key
    return UserPrincipal(key.id, "user-7", "desk", SCOPES)


@pytest.fixture
async def issued(akeys):
    return await akeys.issue_project_key("2", "ci", ["endpoint:read"], actor="user-9")


async def test_what_a_key_is_given_meanwhile_is_judged_too(akeys, caller, issued):
    """Or else a roll would show the secret of a key that holds more than the caller."""
    times = 0

    async def give_more(key_id):
        nonlocal times
        times += 1
        await akeys.update(key_id, scopes=["endpoint:read", "flag:write"])

    desk = Desk(Meddled(akeys, give_more), caller)
    with pytest.raises(Forbidden, match="flag:write"):
        await desk.roll("2", issued.key.id)
    assert times == 1
    assert (await akeys.get(issued.key.id)).last_rolled_at is None


async def test_a_change_that_others_overtake_is_made_on_what_they_left(akeys, caller, issued):
    labels = iter(["one", "two"])

    async def rename(key_id):
        if label := next(labels, None):
            await akeys.update(key_id, label=label)

    key = await Desk(Meddled(akeys, rename), caller).update(
        "2", issued.key.id, scopes=["batch:read"]
    )
    assert (key.label, key.scopes, key.version) == ("two", {"batch:read"}, 4)


async def test_a_change_that_others_overtake_for_ever_is_a_conflict(akeys, caller, issued):
    number = 0

    async def rename(key_id):
        nonlocal number
        number += 1
        await akeys.update(key_id, label=f"label {number}")

    desk = Desk(Meddled(akeys, rename), caller)
    with pytest.raises(VersionConflict):
        await desk.roll("2", issued.key.id)
    assert 1 < number < 10
    assert (await akeys.get(issued.key.id)).last_rolled_at is None


async def test_a_version_that_was_named_is_never_tried_anew(akeys, caller, issued):
    async def rename(key_id):
        await akeys.update(key_id, label="renamed")

    for read in (1, 3):  # what it had, and what it does not have yet
        desk = Desk(Meddled(akeys, rename), caller)
        with pytest.raises(VersionConflict) as caught:
            await desk.update("2", issued.key.id, label="mine", version=read)
        assert caught.value.current == 2
    assert (await akeys.get(issued.key.id)).label == "renamed"


async def test_a_project_key_is_no_person(akeys, issued):
    desk = Desk(akeys, ServicePrincipal("key_m", "2", "m", frozenset({"api_key:write"})))
    for method, args in (
        (desk.place, ["2"]),
        (desk.list, ["2"]),
        (desk.list, [None]),
        (desk.get, ["2", issued.key.id]),
        (desk.create, ["2", "new", ["endpoint:read"]]),
        (desk.update, ["2", issued.key.id]),
        (desk.roll, ["2", issued.key.id]),
        (desk.revoke, ["2", issued.key.id]),
        (desk.history, ["2"]),
    ):
        with pytest.raises(Forbidden, match="project secret API keys"):
            await method(*args)
    assert (await akeys.get(issued.key.id)).version == 1


async def test_what_does_not_fit_is_refused_by_name(akeys, caller, issued):
    desk = Desk(akeys, caller)
    with pytest.raises(InvalidInput) as caught:
        await desk.create("2", "new", ["endpoint:read"], projects=["2"])
    assert caught.value.field == "projects"
    with pytest.raises(InvalidInput) as caught:
        await desk.update("2", issued.key.id, scopes="endpoint:read")
    assert caught.value.field == "scopes"
    with pytest.raises(InvalidInput) as caught:
        await desk.roll("2", issued.key.id, grace=timedelta(-1))
    assert caught.value.field == "grace"
    with pytest.raises(InvalidInput) as caught:
        await desk.roll("2", issued.key.id, version=True)
    assert caught.value.field == "version"
    for cursor in ("", "0", "-1", "٣", "9" * 19, "key_0123456789abcdef"):
        with pytest.raises(InvalidInput) as caught:
            await desk.history("2", before=cursor)
        assert caught.value.field == "cursor"
    with pytest.raises(NotFound):
        await desk.place("2\x00")
