"""Where things are: projects by any id that is one, and addresses that can be followed."""

from __future__ import annotations

import pytest

from keymw import Granted


@pytest.mark.parametrize(
    ("project", "quoted"),
    [
        ("2", "2"),
        ("père", "p%C3%A8re"),
        ("漢字", "%E6%BC%A2%E5%AD%97"),
        ("a b", "a%20b"),
        ("50%", "50%25"),
        ("a?b#c", "a%3Fb%23c"),
        ("..x", "..x"),
        ("0194f3c2-7b7e-7b7e-8000-000000000000", "0194f3c2-7b7e-7b7e-8000-000000000000"),
    ],
)
async def test_a_new_key_is_where_its_location_says(office, project, quoted):
    person = await office.person(projects=[project])
    body = {"label": "ci", "scopes": ["endpoint:read"]}
    answer = await person.ask("POST", f"/projects/{quoted}/keys", 201, json=body)
    key = answer.json()["key"]
    assert answer.headers["location"] == f"/projects/{quoted}/keys/{key['id']}"
    assert (await person.get(answer.headers["location"]))["project_id"] == project
    granted = await office.keys.verify(answer.json()["token"])
    assert isinstance(granted, Granted)
    assert granted.principal.project_id == project
