"""Who is let in, for how long, and whose forms are taken."""

from __future__ import annotations

import re

import pytest
from itsdangerous import URLSafeTimedSerializer

from console.conftest import PROJECT, SECRET, Office, Visitor
from keymw import AsyncKeyService, KeyService, ScopeCatalog
from keymw.console import create_app
from keymw.errors import StoreUnavailable
from keymw.tokens import digest_of, generate

GET_PAGES = ["/", "/me", "/me/new", PROJECT, f"{PROJECT}/history", f"{PROJECT}/keys/key_x/edit"]


async def test_the_cookie_holds_no_token_and_goes_nowhere_else(office):
    issued = await office.keys.issue_personal_key("user-7", "desk", ["*"])
    answer = await Visitor(office.app, issued.token).sign_in()
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Secure-keymw=")
    for attribute in ("HttpOnly", "SameSite=strict", "Secure", "Path=/;", "Max-Age=28800"):
        assert attribute in cookie
    assert issued.token not in cookie
    assert issued.token[4:-4] not in cookie
    assert answer.headers["location"] == "/me"


async def test_over_http_the_cookie_is_not_secure(akeys):
    issued = await akeys.issue_personal_key("user-7", "desk", ["*"])
    office = Office(akeys, secure=False, session_age=60)
    cookie = (await Visitor(office.app, issued.token).sign_in()).headers["set-cookie"]
    assert cookie.startswith("keymw=")
    assert "secure" not in cookie.lower()
    assert "Max-Age=60" in cookie


@pytest.mark.parametrize("path", GET_PAGES)
async def test_nobody_sees_a_page_before_signing_in(office, path):
    answer = await Visitor(office.app).get(path, 303)
    assert answer.headers["location"] == "/sign-in"


async def test_who_is_not_let_in_is_told_why(office):
    machine = await office.keys.issue_project_key("2", "ci", ["api_key:read"])
    weak = await office.keys.issue_personal_key("user-7", "weak", ["endpoint:read"])
    gone = await office.keys.issue_personal_key("user-7", "gone", ["*"])
    await office.keys.revoke(gone.key.id)
    for token, why in (
        (machine.token, "Only people configure"),
        (weak.token, "has not the scope api_key:read"),
        (gone.token, "has been revoked"),
        (generate("pha_"), "is invalid"),
        ("\x00<b>", "is invalid"),
        ("", "is invalid"),
    ):
        answer = await Visitor(office.app, token).sign_in(422)
        assert why in answer.text
        assert 'aria-describedby="token-hint token-error"' in answer.text
        assert "set-cookie" not in answer.headers
        assert not token or token not in answer.text


@pytest.mark.parametrize("end", ["revoke", "roll", "deactivate", "weaken"])
async def test_a_session_ends_with_its_key(office, end):
    person = await office.person()
    await person.get("/me")
    key_id = person.key.id
    await {
        "revoke": lambda: office.keys.revoke(key_id),
        "roll": lambda: office.keys.roll(key_id),
        "deactivate": lambda: office.keys.deactivate_user("user-7"),
        "weaken": lambda: office.keys.update(key_id, scopes=["endpoint:read"]),
    }[end]()
    answer = await person.get("/me", 303)
    assert answer.headers["location"] == "/sign-in?ended=1"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert "has ended" in (await person.get("/sign-in?ended=1")).text


async def test_signing_out(person):
    assert (await person.client.get("/sign-out")).status_code == 405
    await person.send("/sign-out", 403, csrf="wrong")
    await person.get("/me")
    await person.send("/sign-out")
    await person.get("/me", 303)
    await person.send("/sign-out")


def signed(value, secret=SECRET, salt="keymw.console"):
    from hashlib import sha256

    options = {"digest_method": sha256, "key_derivation": "hmac"}
    return URLSafeTimedSerializer(secret, salt=salt, signer_kwargs=options).dumps(value)


async def test_only_own_signatures_count(office, person):
    held = [digest_of(person.token).hex(), "csrf"]
    for cookie, status in (
        (signed(held), 200),
        (signed(held, "of another one entirely"), 303),
        (signed(held, salt="another"), 303),
        (signed(held)[:-1], 303),
        (signed(held[:1]), 303),
        (signed("text"), 303),
        ("", 303),
        (held[0], 303),
    ):
        visitor = Visitor(office.app)
        visitor.client.headers["cookie"] = f"__Secure-keymw={cookie}"
        await visitor.get("/me", status)


async def test_a_session_ends_with_its_time(office, person, monkeypatch):
    import itsdangerous.timed

    now = itsdangerous.timed.time.time()
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 8 * 3600 - 5)
    await person.get("/me")
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: now + 8 * 3600 + 5)
    await person.get("/me", 303)


async def test_secrets_can_be_changed(akeys):
    issued = await akeys.issue_personal_key("user-7", "desk", ["*"])
    old = Visitor(Office(akeys).app, issued.token)
    await old.sign_in()
    changed = create_app(akeys, secret=[SECRET, "the one that comes after it"])
    visitor = Visitor(changed)
    visitor.client.cookies = old.client.cookies
    await visitor.get("/me")


POSTS = [f"{PROJECT}/new", "/me/new", "/me/keys/key_x/edit", "/me/keys/key_x/roll"]


@pytest.mark.parametrize("path", [*POSTS, "/me/keys/key_x/delete"])
async def test_forms_need_the_value_of_the_session(office, person, path):
    for csrf in ("", "wrong", "\u00e9"):
        answer = await person.send(path, 403, csrf=csrf, label="x", scopes="endpoint:read")
        assert "another session" in answer.text
    assert not await office.keys.list(project_id="2")


async def test_htmx_may_send_the_value_in_a_header(person):
    csrf = await person.csrf()
    fields = {"label": "x", "scopes": "endpoint:read"}
    await person.send(f"{PROJECT}/new", 200, csrf="", headers={"X-CSRF-Token": csrf}, **fields)
    await person.send(f"{PROJECT}/new", 403, csrf=csrf, headers={"X-CSRF-Token": "x"}, **fields)


FOREIGN = [
    {"Origin": "https://elsewhere"},
    {"Origin": "https://console.elsewhere", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "https://console:8443"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://console", "Sec-Fetch-Site": "cross-site"},
]
OWN = [
    {},
    {"Origin": "https://console"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "https://console", "Sec-Fetch-Site": "same-origin"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_forms_of_other_sites_are_refused(office, person, headers):
    answer = await person.send(
        f"{PROJECT}/new", 403, headers=headers, label="x", scopes="endpoint:read"
    )
    assert "another site" in answer.text
    answer = await Visitor(office.app, person.token).sign_in(403, **headers)
    assert "set-cookie" not in answer.headers
    await person.send("/sign-out", 403, headers=headers)


@pytest.mark.parametrize("headers", OWN)
async def test_own_forms_are_taken(office, person, headers):
    await person.send(f"{PROJECT}/new", 200, headers=headers, label="x", scopes="endpoint:read")
    await Visitor(office.app, person.token).sign_in(303, **headers)


async def test_an_outage_ends_no_session(office, person, monkeypatch):
    async def down(*_):
        raise StoreUnavailable("The database is down.")

    with monkeypatch.context() as patch:
        office.keys._local.clear()
        patch.setattr(office.keys._deps().store, "find", down)
        for answer in (
            await person.get("/me", 503),
            await person.client.post(f"{PROJECT}/new", data={"label": "x"}),
            await Visitor(office.app, generate("pha_")).sign_in(503),
        ):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert "set-cookie" not in answer.headers
            assert "database is down" not in answer.text
            assert re.search(r"<h1[^>]*>The keys cannot be reached</h1>", answer.text)
    await person.get("/me")


def test_what_is_wired_up_wrongly_is_said_at_once(keys):
    with pytest.raises(TypeError, match="AsyncKeyService"):
        create_app(keys, secret=SECRET)
    service = AsyncKeyService("sqlite://")
    for secret in ("short", [], [SECRET, "short"], b"x" * 40):
        with pytest.raises(ValueError, match="secret"):
            create_app(service, secret=secret)
    for age in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="session_age"):
            create_app(service, secret=SECRET, session_age=age)
    catalog = ScopeCatalog({"api_key": ("read",)})
    with pytest.raises(ValueError, match="api_key"):
        create_app(AsyncKeyService("sqlite://", catalog=catalog), secret=SECRET)


async def test_run_alone_it_starts_and_closes_the_service(migrated_url):
    with KeyService(migrated_url) as elsewhere:
        token = elsewhere.issue_personal_key("user-7", "desk", ["*"]).token
    service = AsyncKeyService(migrated_url)
    app = create_app(service, secret=SECRET)
    async with app.router.lifespan_context(app):
        await Visitor(app, token).sign_in()
        assert service._loops
    assert not service._loops
