"""A key's life over the API, for projects and for people's own keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keymw import Denied, Granted, Reason
from management.conftest import OWN, PROJECT

PLACES = [PROJECT, OWN]

pytestmark = pytest.mark.parametrize("place", PLACES)


def seconds_from_now(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_new_key_works_and_its_secret_is_shown_once(office, place):
    person = await office.person()
    answer = await person.ask(
        "POST", place, 201, json={"label": "nightly", "scopes": ["endpoint:write", "batch:read"]}
    )
    made = answer.json()
    key = made["key"]
    assert answer.headers["location"] == f"{place}/{key['id']}"
    granted = await office.keys.verify(made["token"])
    assert isinstance(granted, Granted)
    assert granted.principal.key_id == key["id"]
    assert granted.principal.scopes == {"endpoint:write", "batch:read"}
    assert key["scopes"] == ["batch:read", "endpoint:write"]
    assert key["label"] == "nightly"
    assert key["created_by"] == "user-7"
    assert key["version"] == 1
    assert key["mask"] == f"{made['token'][:4]}...{made['token'][-4:]}"
    if place == PROJECT:
        assert (key["kind"], key["project_id"], key["user_id"]) == ("project_secret", "2", None)
    else:
        assert (key["kind"], key["project_id"], key["user_id"]) == ("personal", None, "user-7")
    for path in (place, answer.headers["location"], f"{place}/{key['id']}/history"):
        shown = (await person.ask("GET", path)).text
        assert key["id"] in shown
        assert made["token"] not in shown


async def test_what_a_key_is_can_be_changed(office, place):
    person = await office.person()
    made = await person.create(place, scopes=["endpoint:read"])
    path = f"{place}/{made['key']['id']}"
    end = seconds_from_now(3600)
    changed = await person.patch(
        path, {"label": "renamed", "scopes": ["batch:write"], "expires_at": end, "version": 1}
    )
    assert changed["propagation"] == {"acknowledged": False, "bound_seconds": 5.0}
    key = changed["key"]
    assert (key["label"], key["scopes"], key["version"]) == ("renamed", ["batch:write"], 2)
    assert datetime.fromisoformat(key["expires_at"]) == datetime.fromisoformat(end)
    kept = await person.patch(path, {"label": "again"})
    assert kept["key"]["expires_at"] == key["expires_at"]
    assert kept["key"]["scopes"] == ["batch:write"]
    assert (await person.patch(path, {"expires_at": None}))["key"]["expires_at"] is None
    assert (await person.patch(path, {}))["key"]["version"] == 4  # nothing to do is no change
    assert (await person.get(path))["label"] == "again"


async def test_rolling_with_grace_keeps_the_old_secret_for_a_while(office, place):
    person = await office.person()
    made = await person.create(place)
    path = f"{place}/{made['key']['id']}"
    rolled = await person.post(f"{path}/roll", {"grace_seconds": 3600, "version": 1})
    assert rolled["token"] != made["token"]
    assert rolled["propagation"]["bound_seconds"] == 5.0
    assert rolled["key"]["last_rolled_at"] is not None
    for token in (made["token"], rolled["token"]):
        assert isinstance(await office.keys.verify(token), Granted)
    detail = await person.get(path)
    (old,) = detail["retired"]
    assert old["mask"] == made["key"]["mask"]
    left = datetime.fromisoformat(old["valid_until"]) - datetime.now(UTC)
    assert timedelta(minutes=58) < left < timedelta(minutes=61)
    assert rolled["token"] not in str(detail)


async def test_rolling_needs_no_body_and_ends_the_old_secret(office, place):
    person = await office.person()
    made = await person.create(place)
    rolled = await person.post(f"{place}/{made['key']['id']}/roll")
    assert await office.keys.verify(made["token"]) == Denied(Reason.ROLLED)
    assert isinstance(await office.keys.verify(rolled["token"]), Granted)


async def test_deleting_revokes_and_may_be_repeated(office, place):
    person = await office.person()
    made = await person.create(place)
    path = f"{place}/{made['key']['id']}"
    ended = await person.delete(path, params={"reason": "no longer needed"})
    assert ended == {"propagation": {"acknowledged": False, "bound_seconds": 5.0}}
    assert await office.keys.verify(made["token"]) == Denied(Reason.REVOKED)
    assert await person.delete(path) == ended
    assert (await person.get(path))["revoked_at"] is not None
    revoked, issued = (await person.get(f"{path}/history"))["results"]
    assert (revoked["action"], revoked["reason"]) == ("revoked", "no longer needed")
    assert issued["action"] == "issued"
    for change in (
        person.patch(path, {"label": "again"}, 409),
        person.post(f"{path}/roll", None, 409),
    ):
        assert (await change)["code"] == "key_not_usable"


async def test_the_log_says_who_did_what(office, place):
    person = await office.person("user-7")
    made = await person.create(place, label="first")
    path = f"{place}/{made['key']['id']}"
    await person.patch(path, {"label": "second"})
    await person.post(f"{path}/roll")
    await person.delete(path)
    of_key = (await person.get(f"{path}/history"))["results"]
    assert [event["action"] for event in of_key] == ["revoked", "rolled", "updated", "issued"]
    assert {event["actor"] for event in of_key} == {"user-7"}
    assert of_key[2]["before"] == {"label": "first"}
    assert of_key[2]["after"] == {"label": "second"}
    whole = (await person.get(place.removesuffix("keys") + "history"))["results"]
    assert [event for event in whole if event["key_id"] == made["key"]["id"]] == of_key


async def test_revoked_keys_are_listed_on_demand(office, place):
    person = await office.person()
    gone, kept = await person.create(place), await person.create(place)
    await person.delete(f"{place}/{gone['key']['id']}")

    async def listed(**query):
        answer = await person.get(place, params=query)
        return {key["id"] for key in answer["results"]} - {person.key.id}

    assert await listed() == {kept["key"]["id"]}
    assert await listed(include_revoked="false") == {kept["key"]["id"]}
    assert await listed(include_revoked="true") == {kept["key"]["id"], gone["key"]["id"]}


@pytest.mark.parametrize("path", ["keys", "history"])
async def test_pages_follow_one_another(office, place, path):
    person = await office.person()
    keys = [await person.create(place) for _ in range(4)]
    list_of = place.removesuffix("keys") + path
    whole = (await person.get(list_of))["results"]
    assert len(whole) >= len(keys)
    found, cursor = [], {}
    while True:
        page = await person.get(list_of, params={"limit": 2, **cursor})
        assert len(page["results"]) <= 2
        found += page["results"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == whole
