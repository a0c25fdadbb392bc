"""What the pages show and do, without scripts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from console.conftest import PROJECT, Office, Visitor
from keymw import AsyncKeyService, ScopeCatalog, Settings
from keymw.console.headers import _POLICY

LATER = datetime.now(UTC).replace(second=30, microsecond=5) + timedelta(days=30)


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


async def test_a_key_through_its_life(office, person):
    token, key_id = await person.create(label="nightly report")
    page = f"{PROJECT}/keys/{key_id}"
    listed = (await person.get(PROJECT)).text
    assert "nightly report" in listed
    assert f"{token[:4]}...{token[-4:]}" in listed
    assert token not in listed + (await person.get(page)).text
    assert (await office.keys.verify(token)).principal.project_id == "2"

    changed = await person.send(
        f"{page}/edit", label="report", scopes="endpoint:write", expires_at="", version="1"
    )
    assert changed.headers["location"] == page
    rolled = await person.send(f"{page}/roll", 200, grace="3600", version="2")
    new = re.search(r'id="token">([^<]+)<', rolled.text)[1]
    assert "The old secret works until" in rolled.text
    assert (await office.keys.verify(token)).principal.label == "report"
    shown = text_of((await person.get(page)).text)
    assert "Old secrets that still work" in shown
    assert f"{token[:4]}...{token[-4:]}" in shown
    ended = await person.send(f"{page}/delete", reason="not needed")
    assert ended.headers["location"] == page
    for each in (token, new):
        assert (await office.keys.verify(each)).reason == "revoked_key"
    shown = text_of((await person.get(page)).text)
    assert "State revoked" in shown
    assert "Old secrets" not in shown
    for line in ("Reason: not needed", "Label: nightly report → report", "user-7"):
        assert line in shown
    assert "Roll" not in re.findall(r'class="button[^>]*>([^<]*)<', (await person.get(page)).text)
    assert "report" not in text_of((await person.get(PROJECT)).text)
    assert "revoked" in text_of((await person.get(f"{PROJECT}?ended=1")).text)
    assert "not needed" in text_of((await person.get(f"{PROJECT}/history")).text)


async def test_rolled_without_grace_the_bound_is_told(office, person):
    token, key_id = await person.create()
    page = await person.send(f"{PROJECT}/keys/{key_id}/roll", 200, grace="0", version="1")
    assert "Within 5 s the old secret is refused everywhere." in page.text
    assert (await office.keys.verify(token)).reason == "rolled_key"


async def test_own_keys_are_managed_alike(office, person):
    token, key_id = await person.create("/me", "laptop", "insight:read")
    assert (await office.keys.verify(token)).principal.user_id == "user-7"
    await person.send(f"/me/keys/{key_id}/delete")
    events = text_of((await person.get(f"/me/keys/{key_id}/history")).text)
    assert "Revoked" in events
    assert "Issued" in events
    assert (
        "You are signed in with this key"
        in (await person.get(f"/me/keys/{person.key.id}/roll")).text
    )


async def test_a_repeated_roll_does_nothing(office, person):
    _, key_id = await person.create()
    page = f"{PROJECT}/keys/{key_id}"
    await person.send(f"{page}/roll", 200, grace="0", version="1")
    again = await person.send(f"{page}/roll", 409, grace="3600", version="1")
    assert "changed this key meanwhile" in again.text
    assert '<option value="3600" selected>' in again.text
    assert 'name="version" value="2"' in again.text
    assert (await office.keys.get(key_id)).version == 2


async def test_the_second_of_two_editors_sees_both_and_loses_nothing(office, person):
    _, key_id = await person.create(label="before")
    await office.keys.update(key_id, label="theirs", actor="user-8")
    path = f"{PROJECT}/keys/{key_id}/edit"
    fields = {"label": "mine", "scopes": "insight:read", "expires_at": f"{LATER:%Y-%m-%dT%H:%M}"}
    page = (await person.send(path, 409, version="1", **fields)).text
    assert "theirs" in page
    for name, value in fields.items():
        assert re.search(f'name="{name}" value="{value}"', page)
    assert (await office.keys.get(key_id)).label == "theirs"
    await person.send(path, version=re.search(r'name="version" value="(\d+)"', page)[1], **fields)
    assert (await office.keys.get(key_id)).label == "mine"


async def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(person):
    await person.create(label="taken")
    for field, value, why in (
        ("label", "taken", "already has a key"),
        ("label", "x" * 41, "1 to 40 characters"),
        ("label", "\u202eright", "invisible characters"),
        ("scopes", "endpoint:fly", "is not a scope"),
        ("scopes", "", "at least one"),
        ("scopes", "*", "cannot hold"),
        ("expires_at", "tomorrow", "Give a date and a time"),
        ("expires_at", "0001-01-01T00:00+14:00", "outside of the calendar"),
        ("expires_at", "2001-01-01T00:00", "past"),
    ):
        fields = {"label": "fresh", "scopes": "endpoint:read", "expires_at": "", field: value}
        status = 409 if value == "taken" else 422
        page = (await person.send(f"{PROJECT}/new", status, **fields)).text
        wrong = re.search(f'<p class="error" id="{field}-error">([^<]*)</p>', page)
        assert wrong, page
        assert why in wrong[1]
        assert f'aria-describedby="{field}-hint {field}-error"' in page
        for name, typed in fields.items():
            assert f'name="{name}" value="{typed}"' in page


async def test_an_edit_is_refused_at_its_field_too(office, person):
    _, key_id = await person.create(label="one")
    await person.create(label="two")
    path = f"{PROJECT}/keys/{key_id}"
    page = await person.send(f"{path}/edit", 409, label="two", scopes="a:read", version="1")
    assert 'id="label-error"' in page.text
    assert 'name="version" value="1"' in page.text
    for version in ("", "x", "9" * 30, "\u0661"):
        page = await person.send(f"{path}/edit", 422, label="1", scopes="a:read", version=version)
        assert "Load the page again." in page.text
    page = await person.send(f"{path}/roll", 422, grace="5", version="1")
    assert 'id="grace-error"' in page.text
    page = await person.send(f"{path}/delete", 422, reason="x" * 501)
    assert 'id="reason-error"' in page.text
    await office.keys.revoke(key_id)
    page = await person.send(f"{path}/edit", 409, label="x", scopes="endpoint:read", version="2")
    assert 'role="alert"' in page.text


async def test_an_expiry_that_nobody_touched_keeps_its_seconds(office, person):
    issued = await office.keys.issue_project_key("2", "x", ["endpoint:read"], expires_at=LATER)
    path = f"{PROJECT}/keys/{issued.key.id}/edit"
    form = (await person.get(path)).text
    shown = re.search(r'name="expires_at" value="([^"]+)"', form)[1]
    fields = {"label": "y", "scopes": "endpoint:read"}
    await person.send(path, version="1", expires_at=shown, **fields)
    assert (await office.keys.get(issued.key.id)).expires_at == LATER
    await person.send(path, version="2", expires_at="", **fields)
    assert (await office.keys.get(issued.key.id)).expires_at is None


STRANGE = [
    "<script>alert(1)</script>",
    "&lt;b&gt; &amp; \"'`",
    "{{ 7 * 7 }} {% if %}",
    "\u05e9\u05dc\u05d5\u05dd a \u05e2\u05d5\u05dc\u05dd",
    "\uff37" * 40,
]


@pytest.mark.parametrize("label", STRANGE)
async def test_labels_are_shown_as_text(person, label):
    import html

    _, key_id = await person.create(label=label)
    page = f"{PROJECT}/keys/{key_id}"
    for path in (PROJECT, page, *(f"{page}/{what}" for what in ("edit", "roll", "delete"))):
        text = (await person.get(path)).text
        assert text.count("<script") == 2
        assert label in html.unescape(text)
        assert "alert(1)</script>" not in text
        assert "<b>" not in text
    assert label in html.unescape((await person.get(f"{page}/history")).text)


async def test_every_answer_has_the_headers(office, person):
    _, key_id = await person.create()
    for answer in (
        await person.get("/me"),
        await person.get(f"{PROJECT}/keys/{key_id}"),
        await person.get("/nothing", 404),
        await person.get("/", 303),
        await person.get("/sign-in"),
        await person.send(f"{PROJECT}/new", 403, csrf="x"),
        await person.client.put("/me"),
        await Visitor(office.app).get("/me", 303),
    ):
        assert answer.headers["content-security-policy"] == _POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert " style=" not in answer.text
        assert " on" not in re.findall(r"<[^>]*( on)\w+=", answer.text)
        assert not re.search(r"<script(?![^>]* src=)", answer.text)


async def test_static_files_may_be_kept(office):
    for name in ("console.css", "console.js", "htmx.min.js", "htmx.LICENSE.txt", "icon.svg"):
        answer = await Visitor(office.app).get(f"/static/{name}")
        assert answer.headers["content-security-policy"] == _POLICY
        assert "cache-control" not in answer.headers
        assert answer.headers["etag"]
    await Visitor(office.app).get("/static/../app.py", 404)
    await Visitor(office.app).get("/static/nothing", 404)


async def test_pages_of_many_keys_and_of_a_long_log(migrated_url):
    settings = Settings(max_keys_per_project=52)
    async with AsyncKeyService(migrated_url, settings=settings) as keys:
        person = await Office(keys).person()
        for number in range(52):
            await keys.issue_project_key("2", f"key-{number:02}", ["endpoint:read"])
        first = (await person.get(PROJECT)).text
        assert "key-49" in first
        assert "key-50" not in first
        more = re.search(r'rel="next" href="([^"]+)"', first)[1]
        second = (await person.get(more)).text
        assert "key-51" in second
        assert 'rel="next"' not in second
        log = (await person.get(f"{PROJECT}/history")).text
        older = re.search(r'rel="next" href="([^"]+)"', log)[1]
        assert text_of((await person.get(older)).text).count("Issued") == 2
        page = await person.send(f"{PROJECT}/new", 409, label="x", scopes="endpoint:read")
        assert "which is the limit: delete one first." in page.text
        await person.get(f"{PROJECT}?after=key_nothing", 422)
        await person.get(f"{PROJECT}/history?before=x", 422)


async def test_with_a_catalog_scopes_are_chosen(migrated_url):
    objects = {"endpoint": ("read", "write"), "insight": ("read",), "api_key": ("read", "write")}
    catalog = ScopeCatalog(objects, project_secret=["endpoint:write"])
    async with AsyncKeyService(migrated_url, catalog=catalog) as keys:
        office = Office(keys)

        async def offered(person, path):
            page = (await person.get(path)).text
            return re.findall(r'type="checkbox" name="scopes" value="([^"]+)"', page)

        person = await office.person(scopes=["api_key:write", "endpoint:read"])
        assert await offered(person, f"{PROJECT}/new") == ["endpoint:read"]
        assert await offered(person, "/me/new") == [
            *("api_key:read", "api_key:write", "endpoint:read")
        ]
        issued = await keys.issue_project_key("2", "x", ["endpoint:write"])
        path = f"{PROJECT}/keys/{issued.key.id}/edit"
        assert await offered(person, path) == ["endpoint:read", "endpoint:write"]
        both = ["endpoint:read", "endpoint:write"]
        await person.send(path, label="y", scopes=both, version="1")
        assert (await keys.get(issued.key.id)).scopes == set(both)
        assert "*" in await offered(await office.person(), "/me/new")


async def test_what_cannot_be_read_is_refused(person):
    big = {"label": "x" * 70_000}
    await person.send(f"{PROJECT}/new", 413, **big)
    csrf = await person.csrf()
    many = {"csrf": csrf, **{f"n{number}": "x" for number in range(1001)}}
    assert (await person.client.post(f"{PROJECT}/new", data=many)).status_code == 400
    answer = await person.client.post(f"{PROJECT}/new", json={"csrf": csrf})
    assert answer.status_code == 415
    answer = await person.client.post(f"{PROJECT}/new")
    assert answer.status_code == 403


async def test_going_to_a_project(person):
    for typed, where in (("2", "/projects/2"), (" a/b ", "/projects/a%2Fb"), ("", "/me")):
        answer = await person.client.get("/go", params={"project": typed})
        assert answer.headers["location"] == where
    assert (await person.get("/go", 303)).headers["location"] == "/me"
