"""Many keys at once, in every store and through both faces."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import InterfaceError

from either import soon
from keymw import KeyService, Reason, Settings
from keymw.errors import InvalidInput, NotMigrated, StoreUnavailable
from keymw.importing import MAX_SHOWN, Draft, Rejection
from keymw.ports import Invalidation
from keymw.store import bulk, staged_copy
from keymw.tokens import digest, generate
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

#: A small import takes the counter first, a large one last; both do the same.
SIZES = {"small": 2000, "large": 0}


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def size(request, monkeypatch):
    monkeypatch.setattr(staged_copy, "_SMALL", request.param)


@pytest.fixture(params=["memory", *RUNNERS])
async def store(request, size):
    url = None if request.param == "memory" else database_of(request.param, request)
    async with open_store(request.param, url) as opened:
        yield opened


def draft(line=1, owner="2", label=None, digest=None, **changes):
    key = project_key(f"i{line}", label or f"label {line}", project_id=owner, **changes)
    return Draft(line, key, digest or new_digest())


async def load(store, *drafts, partial=False):
    return await store.import_keys(drafts, lambda rejected: partial or not rejected)


async def shown(store):
    found = await store.list(project_id=None, user_id=None, include_revoked=True)
    return {key.id: key for key in found}


async def log(store):
    return await store.history(key_id=None, project_id=None, user_id=None, limit=100)


class TestStoreContract:
    async def test_everything_is_stored_with_its_event(self, store):
        await store.insert(project_key("k1", "first"), new_digest(), "issued", "ann")
        end = NOW + timedelta(days=1)
        mine = personal_key("i3", "ann", label="laptop", created_by="bea")
        drafts = [
            draft(4, expires_at=end),
            Draft(7, mine, new_digest()),
            draft(9, scopes=frozenset({"flag:write", "a:read"}), mask=""),
        ]
        done = await load(store, *drafts)
        assert (done.stored, done.new, done.known, done.rejected) == (True, 3, 0, 0)
        assert done.rejections == ()
        keys = await shown(store)
        for each in drafts:
            assert keys[each.key.id] == each.key
            assert (await store.find(each.digest)).key_id == each.key.id
        position, changes = await store.feed(1, 100)
        assert [change.entity for change in changes] == ["key:i4", "key:i3", "key:i9"]
        assert changes[-1].seq == position == (await store.position())
        assert done.last == Invalidation("key:i9", 1, position)
        numbers = [change.seq for change in changes]
        assert numbers == list(range(numbers[0], numbers[0] + 3))
        event = next(event for event in await log(store) if event.key_id == "i3")
        assert (event.action, event.actor, event.user_id) == ("imported", "bea", "ann")
        assert (event.at, event.version, event.before) == (NOW, 1, {})
        assert event.after == {
            "label": "laptop",
            "mask": mine.mask,
            "scopes": ["endpoint:read"],
        }
        changed = await store.insert(project_key("k2", "next"), new_digest(), "issued", "ann")
        assert changed.invalidation.seq == position + 1

    async def test_an_import_logs_what_a_single_one_does(self, store):
        key = project_key("k1", expires_at=NOW + timedelta(days=1), created_by="bea")
        await store.insert(key, new_digest(), "imported", "bea")
        await load(
            store, draft(1, label="label", owner="3", expires_at=key.expires_at, created_by="bea")
        )
        new, old = await log(store)
        assert replace(new, seq=old.seq, key_id="k1", project_id="2") == old

    async def test_again_it_changes_nothing(self, store):
        drafts = [draft(line) for line in range(1, 6)]
        await load(store, *drafts)
        await store.change("i1", update("revoked", revoked_at=NOW))
        await store.change("i2", roll(new_digest()))
        await store.change("i3", update(label="other", scopes=frozenset({"x:read"})))
        before, events = await shown(store), await log(store)
        again = [
            replace(each, key=replace(each.key, id=f"j{each.line}", expires_at=NOW))
            for each in drafts
        ]
        done = await load(store, *again)
        assert (done.stored, done.new, done.known, done.last) == (True, 0, 5, None)
        assert (await shown(store), await log(store)) == (before, events)
        assert (await store.find(drafts[0].digest)).revoked_at == NOW

    async def test_what_is_rejected(self, store):
        taken, rolled = new_digest(), new_digest()
        await store.insert(project_key("k1", "taken"), taken, "issued", "ann")
        await store.insert(project_key("k2", "rolled"), rolled, "issued", "ann")
        await store.change("k2", roll(new_digest()))
        await store.insert(project_key("k3", "revoked"), new_digest(), "issued", "ann")
        await store.change("k3", update("revoked", revoked_at=NOW))
        twice = new_digest()
        drafts = [
            draft(2, digest=twice),
            draft(3, owner="3", digest=taken),
            Draft(4, personal_key("i4", "2"), rolled),
            draft(5, digest=twice),
            draft(6, expires_at=NOW),
            draft(7, label="taken"),
            draft(8, label="twice"),
            draft(9, label="twice"),
            draft(10, owner="3", label="taken"),
            draft(11, label="revoked"),
            Draft(12, personal_key("i12", label="taken"), new_digest()),
            Draft(13, personal_key("i13", label="taken"), new_digest()),
            draft(14, label="late", expires_at=NOW),
            draft(15, label="late"),
        ]
        before = await log(store)
        done = await load(store, *drafts)
        assert done.rejections == (
            Rejection(3, "digest", "a key of another owner has, or had, this secret."),
            Rejection(4, "digest", "a key of another owner has, or had, this secret."),
            Rejection(5, "digest", "line 2 has the same one."),
            Rejection(6, "expires_at", "it is in the past."),
            Rejection(7, "label", "the project already has a key with this label."),
            Rejection(9, "label", "line 8 has the same one in this project."),
            Rejection(14, "expires_at", "it is in the past."),
        )
        assert (done.stored, done.new, done.rejected, done.last) == (False, 7, 7, None)
        assert (set(await shown(store)), await log(store)) == ({"k1", "k2", "k3"}, before)
        done = await load(store, *drafts, partial=True)
        assert (done.stored, done.new, done.rejected) == (True, 7, 7)
        stored = {"i2", "i8", "i10", "i11", "i12", "i13", "i15"}
        assert set(await shown(store)) == {"k1", "k2", "k3"} | stored

    async def test_the_rest_of_many_rejections_is_a_number(self, store):
        done = await load(store, *[draft(line, label="same") for line in range(1, 2502)])
        assert (done.new, done.rejected, len(done.rejections)) == (1, 2500, MAX_SHOWN)
        assert done.rejections[-1].line == MAX_SHOWN + 1

    async def test_nothing_is_an_import_too(self, store):
        done = await load(store)
        assert (done.stored, done.new, done.known, done.rejected, done.last) == (
            *(True, 0, 0, 0),
            None,
        )

    async def test_rows_that_break_leave_nothing(self, store):
        def broken():
            yield draft(1)
            raise OverflowError("the file")

        with pytest.raises(OverflowError):
            await store.import_keys(broken(), lambda _: True)
        done = await load(store, draft(1))
        assert (done.stored, list(await shown(store))) == (True, ["i1"])


def overtaking(monkeypatch, change, times=1):
    """Have somebody change something after each check, before what was checked is stored."""
    copy, left = bulk.copy, [times]

    def overtaken(connection, found):
        if left[0]:
            left[0] -= 1
            thread = threading.Thread(target=change)
            thread.start()
            thread.join()
        return copy(connection, found)

    monkeypatch.setattr(bulk, "copy", overtaken)


@pytest.fixture
def other(database_url):
    with KeyService(database_url) as service:
        service.migrate()
        yield service


class TestOvertaken:
    """Others store what is in the file, between the checks and the copying."""

    def test_a_label(self, other, database_url, monkeypatch, size):
        def take():
            other.issue_project_key("2", "taken", ["endpoint:read"])

        overtaking(monkeypatch, take)
        with KeyService(database_url) as keys:
            done = keys.import_keys(rows("taken", "free"))
            assert (done.stored, done.new, done.rejected) == (False, 1, 1)
            assert done.rejections[0].reason == "the project already has a key with this label."
            assert [key.label for key in keys.list()] == ["taken"]
            done = keys.import_keys(rows("taken", "free"), partial=True)
            assert (done.stored, done.new, done.rejected) == (True, 1, 1)
            assert [key.label for key in keys.list()] == ["taken", "free"]

    def test_a_secret_that_is_rolled_away_at_once(self, other, database_url, monkeypatch, size):
        own = rows("mine")

        def take():
            known = other.import_key(
                "project_secret", own[0]["digest"], "x", ["endpoint:read"], project_id="3"
            )
            other.roll(known.id)

        overtaking(monkeypatch, take)
        with KeyService(database_url) as keys:
            done = keys.import_keys(own)
            assert (done.stored, done.new, done.rejected) == (False, 0, 1)
            assert done.rejections[0].field == "digest"
            assert [key.label for key in keys.list()] == ["x"]

    def test_the_same_file_from_two_sides(self, other, database_url, monkeypatch, size):
        own = rows("one", "two")
        overtaking(monkeypatch, lambda: other.import_keys(own))
        with KeyService(database_url) as keys:
            done = keys.import_keys(own)
            assert (done.stored, done.new, done.known) == (True, 0, 2)
            assert len(keys.history()) == 2

    def test_other_changes_do_not_matter(self, other, database_url, monkeypatch, size):
        def issue():
            other.issue_project_key("9", "other", ["endpoint:read"])

        overtaking(monkeypatch, issue)
        with KeyService(database_url) as keys:
            assert keys.import_keys(rows("mine")).stored
            numbers = [event.seq for event in keys.history()]
            assert numbers == sorted(numbers, reverse=True)
            assert [event.action for event in keys.history()] == ["imported", "issued"]

    def test_again_and_again(self, other, database_url, monkeypatch, size):
        labels = iter("abcdef")

        def take():
            other.issue_project_key("2", next(labels), ["endpoint:read"])

        overtaking(monkeypatch, take, times=10)
        with KeyService(database_url) as keys:
            with pytest.raises(StoreUnavailable, match="Others keep storing"):
                keys.import_keys(rows(*"abcdef"), partial=True)
            assert {event.action for event in keys.history()} == {"issued"}

    def test_numbers_that_others_have_come_to(self, other, database_url, monkeypatch):
        monkeypatch.setattr(staged_copy, "_SMALL", 0)
        monkeypatch.setattr(staged_copy, "_ROOM", 0)

        def issue():
            other.issue_project_key("9", "other", ["endpoint:read"])

        overtaking(monkeypatch, issue)
        with KeyService(database_url) as keys:
            assert keys.import_keys(rows("mine")).stored
            assert [event.seq for event in keys.history()] == [2, 1]


def test_others_change_keys_while_a_large_import_is_copied(postgres_url, monkeypatch):
    monkeypatch.setattr(staged_copy, "_SMALL", 0)
    with KeyService(postgres_url) as keys, KeyService(postgres_url) as other:
        keys.migrate()
        issued = other.issue_project_key("9", "other", ["endpoint:read"])
        asked = []

        execute = staged_copy.Connection.execute

        def watched(self, statement, *arguments, **options):
            if statement is staged_copy._MOVE:
                # All rows have been copied, and the counter has not been taken yet.
                thread = threading.Thread(target=lambda: asked.append(other.revoke(issued.key.id)))
                thread.start()
                thread.join()
            return execute(self, statement, *arguments, **options)

        monkeypatch.setattr(staged_copy.Connection, "execute", watched)
        assert keys.import_keys(rows("a", "b")).stored
        assert len(asked) == 1
        actions = [event.action for event in keys.history()]
        assert actions == ["imported", "imported", "revoked", "issued"]


def test_while_the_rows_are_read_nobody_waits(other, database_url):
    issued = other.issue_project_key("9", "other", ["endpoint:read"])

    def slow():
        yield from rows("a")
        other.revoke(issued.key.id)
        yield from rows("b")

    with KeyService(database_url, settings=Settings(store_timeout=0.2)) as keys:
        assert keys.import_keys(slow()).new == 2


def test_the_connection_is_as_it_was(database_url):
    from keymw._step import run_now

    settings = Settings(store_connections=1)
    with KeyService(database_url, settings=settings) as keys:
        keys.migrate()
        question = "PRAGMA busy_timeout" if "sqlite" in database_url else "SHOW statement_timeout"
        run = keys._deps().store._run

        def ask(connection):
            return connection.exec_driver_sql(question).scalar_one()

        before = run_now(run.read(ask))
        keys.import_keys(rows("a"))
        keys.import_keys(rows("b"))
        assert run_now(run.read(ask)) == before
        assert str(before) in ("2000", "2s")


# ---- through the services ----------------------------------------------------------------------


def row(label, token=None, **changes):
    return {
        "kind": "project_secret",
        "project": "2",
        "label": label,
        "digest": f"sha256${digest((token or generate('phs_')).encode()).hex()}",
        "scopes": ["endpoint:read"],
        "mask": "phs_...wxyz",
    } | changes


def rows(*labels):
    return [row(label) for label in labels]


@pytest.fixture
async def service(services, database_url):
    made = services(database_url, settings=Settings(max_keys_per_project=1))
    await made.migrate()
    return made


async def test_what_is_imported_works_at_once(service):
    tokens = [generate("phs_") for _ in range(5)]
    assert await service.reason(tokens[0]) is Reason.INVALID
    file = [row(f"label {number}", token) for number, token in enumerate(tokens)]
    done = await service.import_keys(file, actor="bea")
    assert (done.stored, done.new, done.propagation.acknowledged) == (True, 5, False)
    assert [await service.reason(token) for token in tokens] == [None] * 5
    assert {key.created_by for key in await service.list()} == {"bea"}
    with pytest.raises(InvalidInput, match=r"^project_id: "):
        await service.project_key()


async def test_all_or_nothing_or_a_part(service):
    file = [row("a"), row("b", project=2), *rows("c", "c")]
    done = await service.import_keys(file)
    assert (done.stored, done.new, done.rejected, done.propagation) == (False, 2, 2, None)
    assert [(each.line, each.field) for each in done.rejections] == [
        (2, "project_id"),
        (4, "label"),
    ]
    assert await service.list() == []
    done = await service.import_keys(file, partial=True)
    assert (done.stored, done.new, done.rejected) == (True, 2, 2)
    assert sorted(key.label for key in await service.list()) == ["a", "c"]


async def test_a_dry_run_stores_nothing(service):
    done = await service.import_keys(rows("a", "b"), dry_run=True, partial=True)
    assert (done.stored, done.new, done.propagation) == (False, 2, None)
    assert await service.history() == []


async def test_rows_that_cannot_be_read_are_not_the_databases_fault(service):
    def broken(error):
        yield row("a")
        raise error

    for error in (OSError("the disk"), InterfaceError("theirs", {}, OSError()), KeyError("x")):
        with pytest.raises(type(error)) as raised:
            await service.import_keys(broken(error))
        assert raised.value is error
    assert await service.list() == []
    assert (await service.import_keys(rows("a"))).stored


async def test_who_it_was_is_checked(service):
    with pytest.raises(InvalidInput, match=r"^actor: "):
        await service.import_keys(rows("a"), actor="")


async def test_many_rejections_are_told_by_line(service):
    bad = [row("a", project=2) for _ in range(MAX_SHOWN)]
    done = await service.import_keys([*rows("same", "same"), *bad])
    assert (done.rejected, len(done.rejections)) == (MAX_SHOWN + 1, MAX_SHOWN)
    assert [each.line for each in done.rejections] == list(range(2, MAX_SHOWN + 2))


async def test_tables_are_needed(services, database_url):
    with pytest.raises(NotMigrated):
        await services(database_url).import_keys(rows("a"))


@pytest.mark.parametrize("with_redis", [False, True], ids=["feed", "redis"])
async def test_others_who_had_asked_take_the_keys(
    services, database_url, redis_url, with_redis, size
):
    redis = redis_url if with_redis else None
    here, there = services(database_url, redis=redis), services(database_url, redis=redis)
    await here.migrate()
    await there.listening()
    tokens = [generate("phs_") for _ in range(5)]
    for token in tokens:
        assert await there.reason(token) is Reason.INVALID
    file = [row(f"label {number}", token) for number, token in enumerate(tokens)]
    done = await here.import_keys(file)
    assert done.propagation.acknowledged is with_redis
    bound = done.propagation.bound.total_seconds()

    async def all_taken():
        return [await there.reason(token) for token in tokens] == [None] * 5

    await soon(all_taken, patience=bound)
