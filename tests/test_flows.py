"""Every operation on both services; two services stand for two processes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from either import soon
from keymw import (
    DigestTaken,
    Granted,
    InvalidInput,
    KeyKind,
    KeyNotFound,
    KeyNotUsable,
    LabelTaken,
    NotMigrated,
    Reason,
    ScopeCatalog,
    ServicePrincipal,
    Settings,
    UserPrincipal,
)
from keymw.tokens import generate

HOUR = timedelta(hours=1)


def edit(database, statement, *values):
    """Change the database behind everybody's back."""
    with sqlite3.connect(database.removeprefix("sqlite:///")) as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.fixture
async def one(services, sqlite_url, clock):
    """A service alone, with a clock that the test moves."""
    service = services(sqlite_url, clock=clock)
    await service.migrate()
    return service


# ---- the whole life of a key ------------------------------------------------------------------


async def test_a_project_key(one, clock):
    issued = await one.issue_project_key(2, "deploy", ["endpoint:write"], actor="ann")
    key = issued.key
    assert (key.kind, key.project_id, key.user_id) == (KeyKind.PROJECT_SECRET, "2", None)
    assert (key.label, key.scopes, key.version) == ("deploy", {"endpoint:write"}, 1)
    assert (key.created_by, key.created_at, key.expires_at) == ("ann", clock.now(), None)
    assert key.mask == f"phs_...{issued.token[-4:]}"
    verdict = await one.verify(issued.token)
    assert verdict.principal == ServicePrincipal(
        key.id, "2", "deploy", frozenset({"endpoint:write"})
    )
    assert verdict.principal.granted == {"endpoint:write", "endpoint:read"}
    assert await one.get(key.id) == key
    assert list(await one.list(project_id=2)) == [key]
    assert list(await one.list(project_id="3")) == []


async def test_a_personal_key(one):
    issued = await one.issue_personal_key(
        "ann", "laptop", ["*"], projects=[1, "2"], organizations=iter(["o"])
    )
    key = issued.key
    assert issued.token.startswith("pha_")
    assert (await one.verify(issued.token)).principal == UserPrincipal(
        *(key.id, "ann", "laptop", frozenset({"*"})),
        *(frozenset({"1", "2"}), frozenset({"o"})),
    )
    assert list(await one.list(user_id="ann")) == [key]


async def test_history_and_propagation(one):
    issued = await one.issue_project_key("2", "a", ["endpoint:read"], actor="ann")
    updated = await one.update(issued.key.id, label="b", scopes=["endpoint:write"], actor="bob")
    assert (updated.label, updated.scopes, updated.version) == ("b", {"endpoint:write"}, 2)
    rolled = await one.roll(issued.key.id, actor="cid")
    assert (rolled.key.version, rolled.key.label) == (3, "b")
    told = await one.revoke(issued.key.id, actor="dan")
    assert updated.propagation == rolled.propagation == told
    assert (told.acknowledged, told.bound) == (False, timedelta(seconds=5))
    events = await one.history(key_id=issued.key.id)
    assert [(event.action, event.actor) for event in events] == [
        ("revoked", "dan"),
        ("rolled", "cid"),
        ("updated", "bob"),
        ("issued", "ann"),
    ]
    assert list(await one.history(project_id=2, limit=1)) == [events[0]]
    for word in (issued.token, rolled.token):
        assert word not in repr(events)
        assert sha256(word.encode()).hexdigest() not in repr(events)


async def test_an_update_that_changes_nothing_is_no_change(one):
    key = (await one.issue_project_key("2", "a", ["endpoint:read"])).key
    assert await one.update(key.id) == key
    assert await one.update(key.id, label="a", scopes=iter(["endpoint:read"])) == key
    assert len(await one.history()) == 1


async def test_a_roll_with_grace(one, clock):
    old = await one.project_key()
    new = await one.roll(old.key.id, grace=HOUR)
    assert new.token != old.token
    assert await one.reason(old.token) is await one.reason(new.token) is None
    clock.advance(3599.9)
    assert await one.reason(old.token) is None
    clock.advance(0.1)
    assert await one.reason(old.token) is Reason.ROLLED
    assert await one.reason(new.token) is None


async def test_a_second_roll_never_extends_the_grace(one, clock):
    first = await one.project_key()
    second = await one.roll(first.key.id, grace=HOUR)
    third = await one.roll(first.key.id)
    assert await one.reason(first.token) is None
    assert await one.reason(second.token) is Reason.ROLLED
    clock.advance(3600)
    assert await one.reason(first.token) is Reason.ROLLED
    await one.revoke(first.key.id)
    assert await one.reason(third.token) is Reason.REVOKED


async def test_a_revoked_key_is_refused_with_all_its_secrets_for_good(one):
    old = await one.project_key()
    new = await one.roll(old.key.id, grace=HOUR)
    await one.revoke(old.key.id)
    await one.revoke(old.key.id)
    assert [event.action for event in await one.history()] == ["revoked", "rolled", "issued"]
    for token in (old.token, new.token):
        assert await one.reason(token) is Reason.REVOKED
    assert list(await one.list()) == []
    assert [key.id for key in await one.list(include_revoked=True)] == [old.key.id]
    for change in (one.update(old.key.id, label="x"), one.roll(old.key.id)):
        with pytest.raises(KeyNotUsable, match="revoked"):
            await change


async def test_an_expired_key_is_refused_and_cannot_be_changed(one, clock):
    issued = await one.project_key(expires_at=clock.now() + HOUR)
    clock.advance(3599)
    assert await one.reason(issued.token) is None
    clock.advance(1)
    assert await one.reason(issued.token) is Reason.EXPIRED
    for change in (one.update(issued.key.id, label="x"), one.roll(issued.key.id)):
        with pytest.raises(KeyNotUsable, match="expired"):
            await change
    await one.revoke(issued.key.id)


async def test_a_user_leaves_and_comes_back(one):
    first, second = await one.personal_key(), await one.personal_key()
    other = await one.personal_key("bob")
    machine = await one.project_key(actor="ann")
    for _ in range(2):
        await one.deactivate_user("ann", actor="bob")
        for issued in (first, second):
            assert await one.reason(issued.token) is Reason.OWNER_INACTIVE
        assert await one.reason(other.token) is await one.reason(machine.token) is None
    for _ in range(2):
        await one.activate_user("ann")
        assert await one.reason(first.token) is None
    assert [event.action for event in await one.history(user_id="ann", limit=2)] == [
        "user_activated",
        "user_deactivated",
    ]


async def test_no_key_has_this_id(one):
    for work in (
        one.get("key_0"),
        one.update("key_0", label="x"),
        one.roll("key_0"),
        one.revoke("key_0"),
    ):
        with pytest.raises(KeyNotFound) as caught:
            await work
        assert caught.value.key_id == "key_0"
    assert list(await one.history()) == []


# ---- imported keys ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["sha256${}", "{}"])
async def test_an_imported_key_with_keymws_form(one, form):
    token = generate("phs_")
    digest = form.format(sha256(token.encode()).hexdigest())
    key = await one.import_key(
        "project_secret", digest, "old", ["endpoint:read"], project_id=2, mask="phs_...", actor="a"
    )
    assert (key.mask, key.created_by, key.project_id) == ("phs_...", "a", "2")
    assert (await one.verify(token)).principal.key_id == key.id
    with pytest.raises(DigestTaken):
        await one.import_key("personal", digest, "new", ["other:read"], user_id="ann")
    assert len(await one.list()) == 1


async def test_a_token_without_checksum_needs_the_setting(services, sqlite_url):
    token = "pha_short"
    strict = services(sqlite_url)
    lenient = services(sqlite_url, settings=Settings(accept_unchecksummed=(KeyKind.PERSONAL,)))
    await strict.migrate()
    digest = sha256(token.encode()).hexdigest()
    await strict.import_key(KeyKind.PERSONAL, digest, "old", ["other:read"], user_id="ann")
    assert await strict.reason(token) is Reason.INVALID
    assert strict.service.stats().store_reads == 0
    await lenient.listening()
    assert await lenient.counted(lenient.verify(token)) == {"store_reads": 1}
    assert await lenient.reason(token) is None
    for unread in ("phs_short", "pha_" + "x" * 252):
        assert await lenient.counted(lenient.verify(unread)) == {}
        assert await lenient.reason(unread) is Reason.INVALID


async def test_a_key_that_was_refused_and_is_then_created(one):
    token = generate("phs_")
    assert await one.reason(token) is Reason.INVALID
    digest = sha256(token.encode()).hexdigest()
    await one.import_key("project_secret", digest, "x", ["other:read"], project_id="2")
    assert await one.reason(token) is None


# ---- what a key may hold ----------------------------------------------------------------------


async def test_no_scopes_are_refused_and_grant_nothing(one, sqlite_url):
    issued = await one.project_key()
    with pytest.raises(InvalidInput, match="at least one"):
        await one.update(issued.key.id, scopes=[])
    edit(sqlite_url, "UPDATE keymw_keys SET scopes = ''")
    assert (await one.verify(issued.token)).principal.granted == frozenset()


async def test_a_wildcard_counts_for_nothing_on_a_project_key(one, sqlite_url):
    issued = await one.project_key()
    with pytest.raises(InvalidInput, match="scopes"):
        await one.update(issued.key.id, scopes=["*"])
    edit(sqlite_url, "UPDATE keymw_keys SET scopes = '*'")
    assert (await one.verify(issued.token)).principal.scopes == frozenset()


async def test_a_catalog_decides_when_granted_and_when_used(services, sqlite_url):
    wide = services(sqlite_url)
    await wide.migrate()
    issued = await wide.project_key(["endpoint:read", "endpoint:write", "other:read"])
    catalog = ScopeCatalog({"endpoint": ("read", "write")}, ("endpoint:read",))
    narrow = services(sqlite_url, catalog=catalog)
    assert (await narrow.verify(issued.token)).principal.scopes == {"endpoint:read"}
    for scopes in (["other:read"], ["endpoint:write"], ["*"]):
        with pytest.raises(InvalidInput, match="scopes"):
            await narrow.project_key(scopes)
    await narrow.personal_key(scopes=["*"])


async def test_a_label_is_taken_while_its_key_lives(one):
    first = await one.issue_project_key("2", "deploy", ["other:read"])
    with pytest.raises(LabelTaken) as caught:
        await one.issue_project_key("2", "deploy", ["other:read"])
    assert caught.value.field == "label"
    other = await one.issue_project_key("2", "Deploy", ["other:read"])
    with pytest.raises(LabelTaken):
        await one.update(other.key.id, label="deploy")
    await one.issue_project_key("3", "deploy", ["other:read"])
    for _ in range(2):
        await one.issue_personal_key("ann", "deploy", ["other:read"])
    await one.revoke(first.key.id)
    await one.issue_project_key("2", "deploy", ["other:read"])


PROJECT, PERSONAL, IMPORT = "issue_project_key", "issue_personal_key", "import_key"
ARGUMENTS = {
    PROJECT: {"project_id": "2", "label": "x", "scopes": ["a:read"]},
    PERSONAL: {"user_id": "ann", "label": "x", "scopes": ["a:read"]},
    IMPORT: {
        "kind": "project_secret",
        "digest": "0" * 64,
        "label": "x",
        "scopes": ["a:read"],
        "project_id": "2",
    },
}
NAIVE = datetime(2999, 1, 1)  # noqa: DTZ001 - the point
BAD_IDS = ["", " 2", "2 ", "\uff12", "2\x00", "2\n", "\u202e2", "\ud800", "x" * 256, 10**255]
BAD_IDS += [True, b"2", 2.0, None, ["2"], 10**5000]
BAD_LABELS = ["", "x" * 41, "a\nb", "a\x00b", "a\x7fb", "\u202ea", "a\u200fb", "\ud800", "a\u2028b"]
BAD_LABELS += [" a", "a ", "\ufeffa", 5, b"x", None]
BAD_SCOPES = ["a:read", ["a"], ["a:delete"], ["A:read"], ["a:read "], ["a:read:x"], [""], [None]]
BAD_SCOPES += [b"a:read", [["a:read"]], ["\u0430:read"]]
BAD_TIMES = [NAIVE, datetime(2020, 1, 1, tzinfo=UTC), "2999-01-01", 5, NAIVE.date()]
BAD_INPUTS = [
    *((PROJECT, "project_id", value) for value in BAD_IDS),
    *((PERSONAL, "user_id", value) for value in BAD_IDS),
    *((PROJECT, "label", value) for value in BAD_LABELS),
    *((PERSONAL, "label", value) for value in BAD_LABELS),
    *((PROJECT, "scopes", value) for value in [*BAD_SCOPES, ["*"], ["a:read", "*"]]),
    *((PERSONAL, "scopes", value) for value in BAD_SCOPES),
    *((IMPORT, "scopes", value) for value in [["*"], "a:read"]),
    *((PROJECT, "expires_at", value) for value in BAD_TIMES),
    *((PROJECT, "actor", value) for value in ["", "a\n", b"x", True]),
    *((PERSONAL, "projects", value) for value in ["12", b"1", 5, [""], [True]]),
    *((PERSONAL, "organizations", value) for value in ["o", [None], ["\uff12"]]),
    *((IMPORT, "kind", value) for value in ["robot", None, 5, []]),
    *((IMPORT, "digest", value) for value in ["", "0" * 63, "g" * 64, "A" * 64, "md5$" + "0" * 32]),
    *((IMPORT, "mask", value) for value in ["x" * 65, "a\nb", 5]),
    (IMPORT, "project_id", None),
    (IMPORT, "label", "a\tb"),
    (IMPORT, "expires_at", NAIVE),
]


async def test_bad_input_names_its_field_and_stores_nothing(one):
    for method, field, value in BAD_INPUTS:
        with pytest.raises(InvalidInput) as caught:
            await getattr(one, method)(**ARGUMENTS[method] | {field: value})
        assert caught.value.field == field, (method, field, value)
        assert str(caught.value).startswith(f"{field}: ")
    for options in ({"user_id": "ann"}, {"project_id": None, "user_id": "ann"}):
        with pytest.raises(InvalidInput, match="project_id: "):
            await one.import_key(**ARGUMENTS[IMPORT] | options)
    with pytest.raises(InvalidInput, match="user_id: "):
        await one.import_key(**ARGUMENTS[IMPORT] | {"kind": "personal"})
    assert list(await one.history()) == list(await one.list(include_revoked=True)) == []


async def test_a_bad_change_changes_nothing(one):
    key = (await one.project_key()).key
    changes = [
        *(("label", one.update(key.id, label=value)) for value in ["", "x" * 41, "a\nb", 5]),
        *(("scopes", one.update(key.id, scopes=value)) for value in ["a:read", ["*"], [5]]),
        *(("grace", one.roll(key.id, grace=value)) for value in [-HOUR, 5, timedelta.max]),
        *(("key_id", one.get(value)) for value in ["", "\ud800", b"x", None]),
        ("key_id", one.revoke("a\x00")),
        ("key_id", one.roll(b"x")),
        ("key_id", one.update(None)),
        ("key_id", one.history(key_id="")),
        ("actor", one.revoke(key.id, actor="")),
        ("actor", one.update(key.id, label="y", actor=5.0)),
        ("user_id", one.deactivate_user("")),
        ("user_id", one.activate_user(None)),
        ("user_id", one.list(user_id="")),
        ("project_id", one.history(project_id=b"2")),
        *(("limit", one.history(limit=value)) for value in [0, -1, True, 1.5, "1", 10**30]),
    ]
    for field, change in changes:
        with pytest.raises(InvalidInput) as caught:
            await change
        assert caught.value.field == field
    assert await one.get(key.id) == key
    assert [event.action for event in await one.history()] == ["issued"]


@pytest.mark.parametrize("token", ["", "phs_", "abc", "\ud800", "phs_" + "0" * 38, "x" * 100_000])
async def test_what_cannot_be_a_key_is_refused_unread(one, token):
    assert await one.reason(token) in (Reason.INVALID, Reason.UNRECOGNIZED)
    assert one.service.stats().store_reads == 0


async def test_the_hot_path_answers_only_what_l1_has(one):
    issued = await one.project_key()
    value = b"Bearer " + issued.token.encode()
    peek = one.service.peek
    await one.listening()
    assert peek(value) is None
    verdict = await one.authenticate(value)
    assert isinstance(verdict, Granted)
    assert peek(value) is peek(b"bEARER" + value[6:]) is verdict
    for other in (b"Basic" + value[6:], value[:-1], value + b" ", value.ljust(10_000), b""):
        assert peek(other) is None
    assert await one.authenticate(value + b" ") is verdict
    assert (await one.authenticate(None)).reason is Reason.NOT_AUTHENTICATED
    assert (await one.authenticate(b"Bearer a b")).reason is Reason.MALFORMED
    assert (await one.authenticate(b"Basic YTpi")).reason is Reason.NOT_AUTHENTICATED
    await one.revoke(issued.key.id)
    assert peek(value) is None


async def test_a_token_is_a_string(one):
    for value in (None, b"phs_", 5):
        with pytest.raises(TypeError, match="verify"):
            await one.verify(value)


async def test_a_database_without_tables_says_which_command_makes_them(services, database_url):
    service = services(database_url)
    for work in (service.verify(generate("phs_")), service.project_key(), service.list()):
        with pytest.raises(NotMigrated, match="keymw migrate"):
            await work
    await service.migrate()
    await service.migrate()
    issued = await service.project_key()
    await soon(lambda: service.verify(issued.token))
    assert isinstance(await service.verify(issued.token), Granted)
