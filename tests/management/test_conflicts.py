"""Who comes second is told so, and loses nothing."""

from __future__ import annotations

import asyncio

from keymw import AsyncKeyService, Settings
from management.conftest import OWN, PROJECT, Office, fields


async def test_of_two_editors_the_second_loses_nothing(office):
    person = await office.person()
    path = f"{PROJECT}/{(await person.create())['key']['id']}"
    await person.patch(path, {"label": "theirs", "version": 1})
    for change in (
        person.patch(path, {"label": "mine", "version": 1}, 409),
        person.post(f"{path}/roll", {"version": 1}, 409),
        person.patch(path, {"label": "mine", "version": 7}, 409),
    ):
        problem = await change
        assert (problem["code"], problem["version"]) == ("version_conflict", 2)
        assert fields(problem) == ["version"]
    assert (await person.get(path))["label"] == "theirs"
    assert (await person.patch(path, {"label": "mine", "version": 2}))["key"]["version"] == 3


async def test_of_two_rolls_at_the_same_moment_one_is_done(office):
    person = await office.person()
    path = f"{PROJECT}/{(await person.create())['key']['id']}"
    answers = await asyncio.gather(
        *(
            person._client.post(f"{path}/roll", json={"version": 1, "grace_seconds": 60})
            for _ in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert len((await person.get(path))["retired"]) == 1
    # Who names no version wants it rolled, and it is, as often as that is wanted.
    answers = await asyncio.gather(*(person._client.post(f"{path}/roll") for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_label_that_is_taken(office):
    person = await office.person()
    await person.create(label="nightly")
    other = f"{PROJECT}/{(await person.create())['key']['id']}"
    for change in (
        person.create(label="nightly", status=409),
        person.patch(other, {"label": "nightly"}, 409),
    ):
        problem = await change
        assert problem["code"] == "label_taken"
        assert fields(problem) == ["label"]
    await person.create("/projects/3/keys", label="nightly")


async def test_one_key_too_many(url):
    settings = Settings(max_keys_per_project=1, max_keys_per_user=2)
    async with AsyncKeyService(url, settings=settings) as keys:
        person = await Office(keys).person()
        for place, field in ((PROJECT, "project_id"), (OWN, "user_id")):
            made = await person.create(place)
            problem = await person.create(place, status=409)
            assert problem["code"] == "key_limit_reached"
            assert fields(problem) == [field]
            await person.delete(f"{place}/{made['key']['id']}")
            await person.create(place)
