"""What `keymw.ports.Store` promises, held against every store."""

from __future__ import annotations

import shutil
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from keymw import KeyKind, KeyService
from keymw.errors import DigestTaken, KeyNotFound, LabelTaken
from keymw.policy import Record
from keymw.ports import Invalidation
from stores import (
    NOW,
    RUNNERS,
    database_of,
    new_digest,
    open_store,
    personal_key,
    project_key,
    roll,
    update,
)

#: Printable, and able to break what was not built for it.
ODD_LABELS = [
    "'); DROP TABLE keymw_keys; --",
    'a"b`c\\d%e_f%s:g?h',
    "e\u0301 is not \u00e9",
    "\u00e9",
    "\u212b\ufb01\u00df\u0130\u0131",
    "\U0001f511" * 40,
    "\u0e40\u0e01\u0e47\u0e1a",
    "\u05e9\u05dc\u05d5\u05dd",
    "\U0002fa1d",
    "\ufffd",
    "NULL",
    "\uff12",
]


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory):
    """A migrated database, to be copied: migrating for each test would take longer."""
    path = tmp_path_factory.mktemp("template") / "keymw.db"
    with KeyService(f"sqlite:///{path}") as keys:
        keys.migrate()
    return path


@pytest.fixture(scope="module")
def postgres_migrated(postgres_cluster):
    with psycopg.connect(postgres_cluster, autocommit=True) as connection:
        connection.execute("CREATE DATABASE contract")
    url = postgres_cluster.replace("/postgres?", "/contract?")
    with KeyService(url) as keys:
        keys.migrate()
    return url


@pytest.fixture
def sqlite_copy(sqlite_template, tmp_path):
    shutil.copy(sqlite_template, tmp_path / "copy.db")
    return f"sqlite:///{tmp_path}/copy.db"


@pytest.fixture
def postgres_emptied(postgres_migrated):
    with psycopg.connect(postgres_migrated, autocommit=True) as connection:
        connection.execute("TRUNCATE keymw_keys, keymw_retired_secrets, keymw_users, keymw_events")
        connection.execute("UPDATE keymw_counter SET value = 0")
    return postgres_migrated


@pytest.fixture(params=["memory", *RUNNERS])
async def store(request):
    url = None
    if request.param != "memory":
        name = "sqlite_copy" if "sqlite" in request.param else "postgres_emptied"
        url = request.getfixturevalue(name)
    async with open_store(request.param, url, migrated=False) as opened:
        yield opened


async def put(store, key, actor="ann"):
    digest = new_digest()
    await store.insert(key, digest, "created", actor)
    return digest


async def log(store, **about):
    chosen = {"key_id": None, "project_id": None, "user_id": None, "limit": 100} | about
    return list(await store.history(**chosen))


async def shown(store, *, include_revoked=False, **owner):
    chosen = {"project_id": None, "user_id": None} | owner
    return [key.id for key in await store.list(include_revoked=include_revoked, **chosen)]


class TestStoreContract:
    # ---- find -----------------------------------------------------------------------------

    async def test_an_unknown_secret(self, store):
        await put(store, project_key())
        assert await store.find(new_digest()) is None

    async def test_a_project_key_is_found(self, store):
        digest = await put(store, project_key(expires_at=NOW))
        assert await store.find(digest) == Record(
            "k1",
            KeyKind.PROJECT_SECRET,
            "label",
            frozenset({"endpoint:read"}),
            1,
            project_id="2",
            expires_at=NOW,
            mask="phs_...wxyz",
            position=1,
        )

    async def test_a_personal_key_is_found(self, store):
        key = personal_key(projects=frozenset({"2", "02"}), organizations=frozenset())
        digest = await put(store, key)
        assert await store.find(digest) == Record(
            "k1",
            KeyKind.PERSONAL,
            "label",
            frozenset({"endpoint:read"}),
            1,
            user_id="ann",
            projects=frozenset({"2", "02"}),
            organizations=frozenset(),
            mask=key.mask,
            position=1,
        )

    async def test_what_is_found_says_after_which_event_it_was_read(self, store):
        digest = await put(store, project_key())
        await put(store, project_key("k2", label="other"))
        assert (await store.find(digest)).position == 2
        await store.set_user("ann", active=False, at=NOW, actor=None)
        await store.change("k1", roll(new_digest()))
        assert (await store.find(digest)).position == 4 == await store.position()

    async def test_the_owner_goes_and_comes_back(self, store):
        digest = await put(store, personal_key())
        await store.set_user("ann", active=False, at=NOW, actor=None)
        found = await store.find(digest)
        assert (found.owner_active, found.owner_version, found.version) == (False, 1, 1)
        await store.set_user("ann", active=True, at=NOW, actor=None)
        found = await store.find(digest)
        assert (found.owner_active, found.owner_version, found.version) == (True, 2, 1)

    async def test_the_retired_secrets_are_found_as_such(self, store):
        old, middle, new = await put(store, personal_key()), new_digest(), new_digest()
        first, second = NOW + timedelta(microseconds=1), NOW + timedelta(days=1)
        await store.change("k1", roll(middle, first))
        await store.change("k1", roll(new, second))
        found = [await store.find(digest) for digest in (old, middle, new)]
        assert [record.retired_until for record in found] == [first, second, None]
        assert {(record.key_id, record.version) for record in found} == {("k1", 3)}
        await store.set_user("ann", active=False, at=NOW, actor=None)
        assert not (await store.find(old)).owner_active

    async def test_a_revoked_key_is_found_as_such(self, store):
        digest = await put(store, project_key())
        await store.change("k1", update("revoked", revoked_at=NOW))
        assert (await store.find(digest)).revoked_at == NOW

    # ---- get and list ---------------------------------------------------------------------

    async def test_a_row_survives_as_it_is(self, store):
        times = [NOW + timedelta(days=day, microseconds=day) for day in range(5)]
        key = personal_key(
            label="all of it",
            scopes=frozenset({"*", "endpoint:write", "feature_flag:read"}),
            projects=frozenset({"1", "\u00e9", 'a"b,c'}),
            organizations=None,
            created_by="bob",
            created_at=times[0],
            expires_at=times[1],
            revoked_at=times[2],
            last_used_at=times[3],
            last_rolled_at=times[4],
        )
        await put(store, key)
        assert await store.get("k1") == key

    @pytest.mark.parametrize(
        "time",
        [
            datetime.max.replace(tzinfo=UTC),
            datetime(1, 1, 1, 0, 0, 0, 1, UTC),
            datetime(2026, 3, 29, 1, 30, 0, 999999, UTC),
        ],
    )
    async def test_every_time_survives_to_the_microsecond(self, store, time):
        digest = await put(store, project_key(expires_at=time))
        key, record = await store.get("k1"), await store.find(digest)
        assert (key.expires_at, record.expires_at) == (time, time)
        assert (key.expires_at.tzinfo, record.expires_at.tzinfo) == (UTC, UTC)

    async def test_an_empty_set_is_not_no_limit(self, store):
        await put(store, personal_key(scopes=frozenset(), projects=frozenset(), organizations=None))
        key = await store.get("k1")
        assert (key.scopes, key.projects, key.organizations) == (frozenset(), frozenset(), None)

    async def test_odd_labels_survive_and_differ(self, store):
        assert all(label.isprintable() and len(label) <= 40 for label in ODD_LABELS)
        digests = [
            await put(store, project_key(f"k{number}", label, project_id=label))
            for number, label in enumerate(ODD_LABELS)
        ]
        for number, label in enumerate(ODD_LABELS):
            assert (await store.get(f"k{number}")).label == label
            record = await store.find(digests[number])
            assert (record.label, record.project_id) == (label, label)
            assert await shown(store, project_id=label) == [f"k{number}"]

    async def test_labels_that_only_look_alike_are_two(self, store):
        composed, decomposed = "\u00e9", unicodedata.normalize("NFD", "\u00e9")
        for number, label in enumerate([composed, decomposed, "X", "x", "1", "\uff11"]):
            await put(store, project_key(f"k{number}", label))
        assert len(await shown(store, project_id="2")) == 6

    async def test_ids_are_compared_exactly(self, store):
        await put(store, project_key("A", project_id="P"))
        await put(store, personal_key("b", "U"))
        await put(store, personal_key("c", "u"))
        assert await store.get("a") is None
        assert await store.get("A ") is None
        assert await shown(store, project_id="p") == []
        assert await shown(store, user_id="U") == ["b"]
        with pytest.raises(KeyNotFound):
            await store.change("a", update(label="other"))
        await store.set_user("u", active=False, at=NOW, actor=None)
        assert await log(store, user_id="U") == await log(store, key_id="b")

    async def test_an_unknown_id(self, store):
        assert await store.get("nobody") is None

    async def test_keys_are_listed_oldest_first(self, store):
        for key_id, age in [("b", 1), ("a", 1), ("d", 0), ("c", 2)]:
            created = NOW - timedelta(microseconds=age)
            await put(store, project_key(key_id, key_id, created_at=created))
        assert await shown(store, project_id="2") == ["c", "a", "b", "d"]
        assert await shown(store) == ["c", "a", "b", "d"]

    async def test_keys_are_listed_by_owner(self, store):
        await put(store, project_key("a"))
        await put(store, project_key("b", project_id="02"))
        await put(store, personal_key("c", "2"))
        await put(store, personal_key("d", "ann", revoked_at=NOW))
        assert await shown(store, project_id="2") == ["a"]
        assert await shown(store, user_id="2") == ["c"]
        assert await shown(store, user_id="ann") == []
        assert await shown(store, user_id="ann", include_revoked=True) == ["d"]
        assert await shown(store, project_id="2", user_id="2") == []
        assert await shown(store, include_revoked=True) == ["a", "b", "c", "d"]

    # ---- insert ---------------------------------------------------------------------------

    async def test_what_an_insert_says(self, store):
        digest, key = new_digest(), project_key()
        changed = await store.insert(key, digest, "created", "ann")
        assert changed.key == key
        assert changed.invalidation == Invalidation("key:k1", 1, 1, (digest,))

    async def test_a_label_is_given_once_in_a_project(self, store):
        await put(store, project_key("a"))
        with pytest.raises(LabelTaken) as caught:
            await put(store, project_key("b"))
        assert caught.value.field == "label"
        assert await store.get("b") is None
        assert (len(await log(store)), await store.position()) == (1, 1)
        await put(store, project_key("c", project_id="3"))
        await put(store, personal_key("d"))
        await put(store, personal_key("e"))
        await put(store, project_key("f", revoked_at=NOW))

    async def test_a_revoked_key_gives_its_label_back(self, store):
        await put(store, project_key("a"))
        await store.change("a", update("revoked", revoked_at=NOW))
        await put(store, project_key("b"))
        with pytest.raises(LabelTaken):
            await store.change("a", update("updated", revoked_at=None))
        assert (await store.get("a")).revoked_at == NOW

    async def test_a_secret_is_stored_once(self, store):
        old, new = await put(store, personal_key("a")), new_digest()
        await store.change("a", roll(new))
        for digest in (old, new):
            with pytest.raises(DigestTaken):
                await store.insert(project_key("b"), digest, "imported", None)
        assert await store.get("b") is None
        assert await store.position() == 2

    # ---- change ---------------------------------------------------------------------------

    async def test_a_plan_sees_the_current_row(self, store):
        key, seen = project_key(), []
        digest = await put(store, key)
        for label in ("second", "third"):
            changed = await store.change(
                "k1", lambda row, label=label: seen.append(row) or update(label=label)(row)
            )
        assert seen == [key, replace(key, label="second", version=2)]
        assert changed.key == replace(key, label="third", version=3) == await store.get("k1")
        assert changed.invalidation == Invalidation("key:k1", 3, 3, (digest,))

    async def test_the_store_alone_says_which_version(self, store):
        await put(store, project_key())
        changed = await store.change("k1", update(version=70, label="other"))
        assert changed.key.version == 2
        assert (await log(store))[0].version == 2

    async def test_a_plan_that_wants_nothing(self, store):
        key = project_key()
        digest = await put(store, key)
        changed = await store.change("k1", lambda _: None)
        assert changed.key == key == await store.get("k1")
        assert changed.invalidation == Invalidation("key:k1", 1, 0, (digest,))
        assert (len(await log(store)), await store.position()) == (1, 1)
        await store.change("k1", update(label="other"))
        assert [event.seq for event in await log(store)] == [2, 1]

    async def test_what_a_plan_raises_undoes_everything(self, store):
        key = project_key()
        await put(store, key)

        def refuse(row):
            raise LookupError("no")

        with pytest.raises(LookupError, match="no"):
            await store.change("k1", refuse)
        assert await store.get("k1") == key
        assert await store.position() == 1
        await store.change("k1", update(label="other"))
        assert await store.position() == 2

    async def test_a_key_that_is_not_there(self, store):
        with pytest.raises(KeyNotFound) as caught:
            await store.change("k1", update(label="other"))
        assert caught.value.key_id == "k1"
        assert await store.position() == 0

    async def test_a_change_to_a_taken_label(self, store):
        await put(store, project_key("a", "taken"))
        await put(store, project_key("b", "free"))
        with pytest.raises(LabelTaken):
            await store.change("b", update(label="taken"))
        assert (await store.get("b")).label == "free"
        await store.change("b", update(label="Taken"))
        await store.change("a", update(label="taken", scopes=frozenset()))

    async def test_a_roll_to_a_taken_secret(self, store):
        mine, other = await put(store, personal_key("a")), await put(store, personal_key("b"))
        for digest in (mine, other):
            with pytest.raises(DigestTaken):
                await store.change("a", roll(digest))
        assert (await store.find(mine)).retired_until is None

    async def test_the_invalidation_names_every_secret(self, store):
        first, second, third = await put(store, project_key()), new_digest(), new_digest()
        await put(store, project_key("k2", "another"))
        rolled = await store.change("k1", roll(second))
        assert set(rolled.invalidation.digests) == {first}
        rolled = await store.change("k1", roll(third))
        assert set(rolled.invalidation.digests) == {first, second}
        for plan in (update("revoked", revoked_at=NOW), lambda _: None):
            changed = await store.change("k1", plan)
            assert set(changed.invalidation.digests) == {first, second, third}
            assert (changed.invalidation.entity, changed.invalidation.version) == ("key:k1", 4)

    # ---- users ----------------------------------------------------------------------------

    async def test_a_user_goes_and_comes_back(self, store):
        old, new = await put(store, personal_key("a")), new_digest()
        await store.change("a", roll(new))
        other = await put(store, personal_key("b"))
        await put(store, personal_key("c", "bob"))
        for active, version in ((False, 1), (False, 1), (True, 2), (True, 2), (False, 3)):
            told = (await store.set_user("ann", active=active, at=NOW, actor="root")).invalidation
            assert (told.entity, told.version) == ("user:ann", version)
            assert set(told.digests) == {old, new, other}
        assert [event.action for event in await log(store, user_id="ann")][:3] == [
            "user_deactivated",
            "user_activated",
            "user_deactivated",
        ]

    async def test_an_unknown_user_is_active(self, store):
        told = (await store.set_user("ann", active=True, at=NOW, actor=None)).invalidation
        assert told == Invalidation("user:ann", 0)
        assert await store.position() == 0

    async def test_a_user_may_go_before_the_first_key(self, store):
        told = (await store.set_user("ann", active=False, at=NOW, actor=None)).invalidation
        assert told == Invalidation("user:ann", 1, 1)
        assert not (await store.find(await put(store, personal_key()))).owner_active

    async def test_a_project_key_outlives_its_creator(self, store):
        key = project_key(created_by="ann")
        digest = await put(store, key)
        before = await store.find(digest)
        told = (await store.set_user("ann", active=False, at=NOW, actor=None)).invalidation
        assert told.digests == ()
        assert await store.find(digest) == replace(before, position=2)
        assert await store.get("k1") == key

    # ---- the log and the feed -------------------------------------------------------------

    async def test_what_the_log_says(self, store):
        later = NOW + timedelta(microseconds=1)
        await put(store, project_key(created_by="ann"))
        await store.change("k1", update("updated", later, "bob", label="new"))
        await store.set_user("ann", active=False, at=later, actor=None)
        gone, changed, made = await log(store)
        assert (made.seq, made.at, made.action, made.version) == (1, NOW, "created", 1)
        assert (made.key_id, made.project_id, made.user_id, made.actor) == ("k1", "2", None, "ann")
        assert made.before == {}
        assert (made.after["label"], made.after["scopes"]) == ("label", ["endpoint:read"])
        assert (changed.seq, changed.at, changed.version, changed.actor) == (2, later, 2, "bob")
        assert (changed.before, changed.after) == ({"label": "label"}, {"label": "new"})
        assert (gone.seq, gone.action, gone.version) == (3, "user_deactivated", 1)
        assert (gone.key_id, gone.user_id, gone.actor) == (None, "ann", None)
        assert (gone.before, gone.after) == ({"active": True}, {"active": False})

    async def test_the_log_by_what_it_is_about(self, store):
        await put(store, project_key("a"))
        await put(store, project_key("b", project_id="3"))
        await put(store, personal_key("c"))
        await store.set_user("ann", active=False, at=NOW, actor=None)
        await store.change("a", update(label="x"))

        async def numbers(**about):
            return [event.seq for event in await log(store, **about)]

        assert await numbers() == [5, 4, 3, 2, 1]
        assert await numbers(limit=2) == [5, 4]
        assert await numbers(key_id="a") == [5, 1]
        assert await numbers(project_id="3") == [2]
        assert await numbers(user_id="ann") == [4, 3]
        assert await numbers(user_id="ann", limit=1) == [4]
        assert await numbers(key_id="c", user_id="ann") == [3]
        assert await numbers(key_id="a", project_id="3") == []

    async def test_the_feed(self, store):
        assert (await store.position(), await store.feed(0, 10)) == (0, (0, []))
        await put(store, project_key("a"))
        await put(store, personal_key("b"))
        await store.set_user("ann", active=False, at=NOW, actor=None)
        await store.change("a", update(label="x"))
        everything = [
            Invalidation("key:a", 1, 1),
            Invalidation("key:b", 1, 2),
            Invalidation("user:ann", 1, 3),
            Invalidation("key:a", 2, 4),
        ]
        assert await store.feed(0, 10) == (4, everything)
        assert await store.feed(1, 2) == (4, everything[2:])
        assert await store.feed(3, 10) == (4, everything[3:])
        assert await store.feed(4, 10) == (4, [])
        assert await store.feed(9, 10) == (4, [])
        assert await store.position() == 4

    async def test_the_log_holds_no_secret(self, store):
        digests = [await put(store, project_key()), new_digest()]
        await store.change("k1", roll(digests[1]))
        await store.change("k1", update("revoked", revoked_at=NOW))
        text = repr(await log(store)) + repr(await store.feed(0, 10))
        for digest in digests:
            assert digest.hex() not in text
            assert repr(digest) not in text

    async def test_signing_keys_stay(self, store):
        (secret,) = await store.signing_keys()
        assert isinstance(secret, bytes)
        assert len(secret) == 32
        await store.migrate()
        assert tuple(await store.signing_keys()) == (secret,)


@pytest.mark.parametrize("name", RUNNERS)
async def test_a_closed_store_opens_again(name, request):
    async with open_store(name, database_of(name, request)) as store:
        digest = await put(store, project_key())
        await store.aclose()
        await store.aclose()
        assert (await store.find(digest)).key_id == "k1"
