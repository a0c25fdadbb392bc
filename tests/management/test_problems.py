"""Requests that cannot be done are told why, by problem documents that name the field."""

from __future__ import annotations

import json

import pytest

from keymw import (
    AsyncKeyService,
    KeyNotFound,
    MiddlewareMissing,
    NotMigrated,
    ScopeCatalog,
    StoreUnavailable,
)
from keymw.management import problems
from management.conftest import OWN, PROJECT, Office, fields

JSON = {"content-type": "application/json"}
NEW = {"label": "new", "scopes": ["endpoint:read"]}

BAD_FIELDS = [
    ({"scopes": ["endpoint:read"]}, "label"),
    ({"label": "new"}, "scopes"),
    ({**NEW, "label": None}, "label"),
    ({**NEW, "label": 7}, "label"),
    ({**NEW, "label": ""}, "label"),
    ({**NEW, "label": "x" * 41}, "label"),
    ({**NEW, "label": "x" * 10_000}, "label"),
    ({**NEW, "label": " padded "}, "label"),
    ({**NEW, "label": "abc\u202edef"}, "label"),
    ({**NEW, "label": "a\u200bb"}, "label"),
    ({**NEW, "label": "a\x00b"}, "label"),
    ({**NEW, "scopes": []}, "scopes"),
    ({**NEW, "scopes": None}, "scopes"),
    ({**NEW, "scopes": "endpoint:read"}, "scopes"),
    ({**NEW, "scopes": ["endpoint:read", "endpoint:delete"]}, "scopes.1"),
    ({**NEW, "scopes": ["endpoint:read\n"]}, "scopes.0"),
    ({**NEW, "scopes": ["endpoint:read", 7]}, "scopes.1"),
    ({**NEW, "scopes": [f"o{n}:read" for n in range(501)]}, "scopes"),
    ({**NEW, "expires_at": "tomorrow"}, "expires_at"),
    ({**NEW, "expires_at": "2031-01-01"}, "expires_at"),
    ({**NEW, "expires_at": "2031-01-01T00:00:00"}, "expires_at"),
    ({**NEW, "expires_at": "2031-02-30T00:00:00Z"}, "expires_at"),
    ({**NEW, "expires_at": "0001-01-01T00:00:00+23:00"}, "expires_at"),
    ({**NEW, "expires_at": 1_900_000_000}, "expires_at"),
    ({**NEW, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({**NEW, "id": "key_mine"}, "id"),
    ({**NEW, "token": "mine"}, "token"),
    ({**NEW, "kind": "personal"}, "kind"),
    ({**NEW, "created_by": "somebody-else"}, "created_by"),
    ({**NEW, "project_id": "3"}, "project_id"),
    ({**NEW, "user_id": "somebody-else"}, "user_id"),
    ({**NEW, "x" * 10_000: 1}, "x" * 64),
]


@pytest.mark.parametrize("place", [PROJECT, OWN])
async def test_fields_that_do_not_fit_are_named(sqlite_office, place):
    person = await sqlite_office.person()
    for body, field in BAD_FIELDS:
        problem = await person.post(place, body, 422)
        assert fields(problem) == [field], body
        assert problem["code"] == "invalid_input"
        assert problem["errors"][0]["detail"]
        assert "Value error" not in str(problem)
        assert len(str(problem)) < 1000
    assert len((await person.get("/users/me/keys"))["results"]) == 1
    assert (await person.get(PROJECT))["results"] == []


@pytest.mark.parametrize("place", [PROJECT, OWN])
@pytest.mark.parametrize(
    "body",
    [
        *({name: "x"} for name in ("id", "mask", "kind", "created_at", "revoked_at")),
        {"projects": ["3"]},
        {"organizations": None},
        {"label": None},
        {"scopes": None},
        {"scopes": []},
        {"version": "1"},
        {"version": 0},
        {"version": True},
        {"version": 2**60},
        {"version": 10**4000},
        {"version": 1e300},
        {"version": 1.5},
        {"expires_at": "2020-01-01T00:00:00Z"},
    ],
    ids=lambda body: f"{body}"[:40],
)
async def test_what_may_not_be_changed_is_named(sqlite_office, place, body):
    person = await sqlite_office.person()
    path = f"{place}/{(await person.create(place))['key']['id']}"
    assert fields(await person.patch(path, body, 422)) == list(body)
    assert (await person.get(path))["version"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"grace_seconds": -1},
        {"grace_seconds": "60"},
        {"grace_seconds": None},
        {"grace_seconds": 10**12},
        {"grace_seconds": 1.5},
        {"version": -1},
        {"grace": 60},
    ],
    ids=str,
)
async def test_a_roll_that_does_not_fit_rolls_nothing(sqlite_office, body):
    person = await sqlite_office.person()
    path = f"{PROJECT}/{(await person.create())['key']['id']}"
    assert fields(await person.post(f"{path}/roll", body, 422)) == list(body)
    assert (await person.get(path))["version"] == 1


async def test_several_fields_are_named_at_once(sqlite_office):
    person = await sqlite_office.person()
    problem = await person.post(PROJECT, {"label": "", "scopes": [], "x": 1}, 422)
    assert fields(problem) == ["label", "scopes", "x"]
    assert problem["detail"] == "Something is wrong with: label, scopes, x."


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("cursor=", "cursor"),
        ("cursor=0", "cursor"),
        ("cursor=-5", "cursor"),
        ("cursor=key_0123456789abcdef", "cursor"),
        ("cursor=" + "9" * 60, "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "x" * 10_000, "cursor"),
    ],
)
async def test_pages_that_do_not_exist(sqlite_office, query, field):
    person = await sqlite_office.person()
    for path in (PROJECT, OWN, "/projects/2/history", "/users/me/history"):
        assert fields(await person.get(f"{path}?{query}", 422)) == [field]


async def test_a_cursor_is_of_its_own_list(office):
    """Or else it would tell when a foreign key was made."""
    person, other = await office.person("user-7"), await office.person("user-8")
    foreign = (await other.create(OWN))["key"]["id"]
    elsewhere = (await person.create("/projects/3/keys"))["key"]["id"]
    for path, cursor in ((OWN, foreign), (PROJECT, foreign), (PROJECT, elsewhere), (OWN, "5")):
        assert fields(await person.get(path, 422, params={"cursor": cursor})) == ["cursor"]
    assert fields(await person.get(f"{PROJECT}?include_revoked=yes", 422)) == ["include_revoked"]


@pytest.mark.parametrize("place", [PROJECT, OWN])
@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [
        (b"", JSON, 400, "malformed_json"),
        (b"{", JSON, 400, "malformed_json"),
        (b'{"label": "\xff"}', JSON, 400, "malformed_json"),
        (b'{"label": "\\ud800"}', JSON, 400, "malformed_json"),
        (b"[" * 5000, JSON, 400, "malformed_json"),
        (b"[]", JSON, 422, "invalid_input"),
        (b"null", JSON, 422, "invalid_input"),
        (b"", {}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (b"label=x", {"content-type": "application/x-www-form-urlencoded"}, 415, None),
        (b"{}", {"content-type": "text/json"}, 415, None),
        (b" " * 65_537, JSON, 413, "body_too_large"),
        (b" " * 1_000_000, JSON, 413, "body_too_large"),
        (b" " * 65_536, JSON, 400, "malformed_json"),
    ],
)
async def test_bodies_that_cannot_be_read(sqlite_office, place, raw, headers, status, code):
    person = await sqlite_office.person()
    problem = (await person.ask("POST", place, status, content=raw, headers=headers)).json()
    assert problem["code"] == (code or "unsupported_media_type")


async def test_a_body_is_not_read_beyond_its_limit(sqlite_office):
    person = await sqlite_office.person()
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b" " * 10_000

    problem = (await person.ask("POST", PROJECT, 413, content=endless(), headers=JSON)).json()
    assert problem["code"] == "body_too_large"
    assert sent < 200_000
    # Nor is it read at all for somebody who may not.
    sent = 0
    await sqlite_office.stranger().ask("POST", PROJECT, 401, content=endless(), headers=JSON)
    assert sent == 0


async def test_the_type_of_a_body_may_have_parameters(sqlite_office):
    person = await sqlite_office.person()
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    await person.ask("POST", PROJECT, 201, content=json.dumps(NEW).encode(), headers=headers)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "\"&'<>", "שלום עולם", "漢" * 40])
async def test_labels_are_text(office, name):
    person = await office.person()
    made = await person.create(label=name)
    assert made["key"]["label"] == name
    assert (await person.get(PROJECT))["results"][0]["label"] == name


@pytest.mark.parametrize(
    "key_id", ["x" * 10_000, "a%00b", "%2e%2e", "a%2Fb", "%E2%80%AE", "%FF", "key_%20", "me", "%0A"]
)
async def test_ids_that_are_none(office, key_id):
    person = await office.person()
    for place in (PROJECT, OWN):
        for method, options in (
            ("GET", {}),
            ("PATCH", {"json": {"label": "new"}}),
            ("DELETE", {}),
        ):
            answer = await person.ask(method, f"{place}/{key_id}", 404, **options)
            assert len(answer.content) < 500


@pytest.mark.parametrize("project_id", ["x" * 10_000, "a%00b", "a%2Fb", "%E2%80%AE", "%0A", "%20"])
async def test_projects_that_are_none(office, project_id):
    person = await office.person()
    for path in ("keys", "history", "keys/key_0123456789abcdef"):
        await person.get(f"/projects/{project_id}/{path}", 404)
    await person.post(f"/projects/{project_id}/keys", NEW, 404)


async def test_addresses_and_methods_that_are_not_served(sqlite_office):
    person = await sqlite_office.person()
    for path in ("/", "/projects", f"{PROJECT}/", "/users/user-7/keys", "/leaks/github", "//x"):
        assert (await person.get(path, 404))["code"] == "not_found"
    for path, methods in (
        (PROJECT, {"GET", "HEAD", "POST"}),
        (f"{OWN}/key_x", {"GET", "HEAD", "PATCH", "DELETE"}),
        (f"{OWN}/key_x/roll", {"POST"}),
        ("/openapi.json", {"GET", "HEAD"}),
    ):
        for method in ("PUT", "OPTIONS", "TRACE"):
            answer = await person.ask(method, path, 405)
            assert set(answer.headers["allow"].split(", ")) == methods
            assert answer.json()["code"] == "method_not_allowed"


async def test_scopes_outside_of_the_catalog(url):
    catalog = ScopeCatalog(
        {"endpoint": ("read", "write"), "api_key": ("read", "write")},
        project_secret=["endpoint:read"],
    )
    async with AsyncKeyService(url, catalog=catalog) as keys:
        person = await Office(keys).person()
        for place, scopes, word in (
            (PROJECT, ["batch:read"], "not in the catalog"),
            (OWN, ["batch:read"], "not in the catalog"),
            (PROJECT, ["endpoint:write"], "may not hold"),
            (PROJECT, ["api_key:read"], "may not hold"),
        ):
            problem = await person.create(place, scopes=scopes, status=422)
            assert fields(problem) == ["scopes"]
            assert word in problem["detail"]
        path = f"{PROJECT}/{(await person.create())['key']['id']}"
        assert fields(await person.patch(path, {"scopes": ["endpoint:write"]}, 422)) == ["scopes"]


async def test_an_outage_is_503(office, caplog):
    person = await office.person()
    await person.get(PROJECT)  # from now on the caller is known

    async def burn(*_, **__):
        raise StoreUnavailable("The database at 10.0.0.7 is on fire.")

    store = office.keys._deps().store
    store.list = store.get = store.insert = store.change = store.history = burn
    for method, path, options in (
        ("GET", PROJECT, {}),
        ("POST", PROJECT, {"json": NEW}),
        ("GET", f"{OWN}/{person.key.id}", {}),
        ("DELETE", f"{OWN}/{person.key.id}", {}),
        ("GET", "/users/me/history", {}),
    ):
        answer = await person.ask(method, path, 503, **options)
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["code"] == "temporarily_unavailable"
        assert "fire" not in answer.text
        assert "10.0.0.7" not in answer.text


def test_what_keymw_raises_is_answered_in_its_own_words_or_not_at_all():
    gone = problems.answer(KeyNotFound("key_0123456789abcdef"), 7)
    assert gone.body == problems.answer(problems.NotFound(), 7).body
    unready = problems.answer(NotMigrated(), 7)
    assert (unready.status_code, unready.headers["retry-after"]) == (503, "7")
    with pytest.raises(MiddlewareMissing):  # a mistake in the wiring is no answer
        problems.answer(MiddlewareMissing("view"), 7)


async def test_a_client_that_hangs_up_is_nobodys_trouble(sqlite_office, caplog):
    person = await sqlite_office.person()
    scope = {
        "type": "http",
        "method": "POST",
        "path": PROJECT,
        "query_string": b"",
        "headers": [
            (b"authorization", f"Bearer {person.token}".encode()),
            (b"content-type", b"application/json"),
        ],
    }
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await sqlite_office.app(scope, receive, send)
    assert caplog.records == []
    assert sent[0]["status"] == 400
    assert (await person.get(PROJECT))["results"] == []
