"""Who may do what: scopes, kinds, projects, and nothing handed out that the caller has not."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from keymw import Denied, Reason
from management.conftest import OWN, PROJECT, Office, fields

READS = [("GET", ""), ("GET", "/{id}"), ("GET", "/{id}/history"), ("GET", "/../history")]
CHANGES = [("POST", ""), ("PATCH", "/{id}"), ("DELETE", "/{id}"), ("POST", "/{id}/roll")]
BODIES = {"POST": {"label": "new", "scopes": ["endpoint:read"]}, "PATCH": {"label": "changed"}}


def at(place, path, key_id):
    if path == "/../history":
        return f"{place.removesuffix('/keys')}/history"
    return place + path.format(id=key_id)


def body_of(method, path):
    return {} if path.endswith("/roll") else {"json": BODIES[method]} if method in BODIES else {}


@pytest.mark.parametrize("place", [PROJECT, OWN])
@pytest.mark.parametrize(("method", "path"), READS + CHANGES)
async def test_reading_and_changing_take_their_scopes(sqlite_office, place, method, path):
    owner = await sqlite_office.person()
    key_id = (await owner.create(place, scopes=["endpoint:read"]))["key"]["id"]
    is_read = (method, path) in READS
    where, options = at(place, path, key_id), body_of(method, path)
    for scopes in (["endpoint:write"], *([] if is_read else [["api_key:read", "endpoint:read"]])):
        person = await sqlite_office.person(scopes=scopes)
        problem = (await person.ask(method, where, 403, **options)).json()
        assert problem["code"] == "scope_missing"
        assert ("api_key:read" if is_read else "api_key:write") in problem["detail"]
    enough = ["api_key:read"] if is_read else ["api_key:write", "endpoint:read"]
    person = await sqlite_office.person(scopes=enough)
    await person.ask(method, where, 201 if (method, path) == ("POST", "") else 200, **options)


@pytest.mark.parametrize("place", [PROJECT, OWN])
@pytest.mark.parametrize(("method", "path"), READS + CHANGES)
async def test_only_people_with_good_keys_are_served(sqlite_office, place, method, path):
    owner = await sqlite_office.person()
    key_id = (await owner.create(place))["key"]["id"]
    where, options = at(place, path, key_id), body_of(method, path)
    machine = await sqlite_office.machine(["api_key:write"])
    problem = (await machine.ask(method, where, 403, **options)).json()
    assert problem["code"] == "kind_not_supported"
    answer = await sqlite_office.stranger().ask(method, where, 401, **options)
    assert answer.headers["www-authenticate"] == 'Bearer realm="keymw"'
    await sqlite_office.keys.deactivate_user("user-8")
    gone = await sqlite_office.person("user-8")
    problem = (await gone.ask(method, where, 401, **options)).json()
    assert problem["code"] == "owner_inactive"


@contextlib.contextmanager
def statements():
    """Note what is asked meanwhile about keys."""
    found = []

    def note(connection, cursor, statement, *_):
        if "keymw_keys" in statement or "keymw_retired_secrets" in statement:
            found.append(statement)  # threads ask for other things, whoever is served

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    ("method", "path"),
    [pair for pair in READS + CHANGES if "{id}" in pair[1]],
)
async def test_what_is_not_the_callers_is_answered_as_if_it_were_not_there(office, method, path):
    """By the same answer and the same questions to the database."""
    owner = await office.person("user-7", projects=["2", "3"])
    here = (await owner.create())["key"]["id"]
    there = (await owner.create("/projects/3/keys"))["key"]["id"]
    own = (await owner.create(OWN))["key"]["id"]
    other = await office.person("user-8", projects=["3"])
    asked = {
        "unknown": ("/projects/3/keys", "key_0123456789abcdef"),
        "of another project": ("/projects/3/keys", here),
        "in a project out of reach": (PROJECT, here),
        "unknown in a project out of reach": (PROJECT, "key_0123456789abcdef"),
        "of another project in a project out of reach": (PROJECT, there),
        "a person's in a project": ("/projects/3/keys", own),
        "unknown of one's own": (OWN, "key_0123456789abcdef"),
        "somebody else's": (OWN, own),
        "a project's as one's own": (OWN, there),
    }
    answers, work = {}, {}
    for name, (place, key_id) in asked.items():
        where = at(place, path, key_id)
        await other.ask(method, where, 404, **body_of(method, path))  # now the caller is known
        with statements() as found:
            answer = await other.ask(method, where, 404, **body_of(method, path))
        answers[name] = (answer.content, sorted(answer.headers.items()))
        work[name] = found
    assert len({str(answer) for answer in answers.values()}) == 1, answers
    assert len({str(each) for each in work.values()}) == 1, work
    assert work["unknown"]
    for key_id in (here, there, own):
        assert (await office.keys.get(key_id)).version == 1


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/../history")])
async def test_projects_out_of_reach_are_not_there(office, method, path):
    options = body_of(method, path)
    for limits in ({"projects": ["3"]}, {"projects": []}, {"organizations": ["o"]}):
        person = await office.person(**limits)
        problem = (await person.ask(method, at(PROJECT, path, ""), 404, **options)).json()
        assert problem["code"] == "not_found"
    person = await office.person(projects=["3", "2"], organizations=["o"])
    await person.ask(method, at(PROJECT, path, ""), 201 if method == "POST" else 200, **options)
    # Compared exactly: neither of these is project 2.
    for project in ("02", "%EF%BC%92", "2%20", "+2", "2.0"):
        where = at(f"/projects/{project}/keys", path, "")
        await person.ask(method, where, 404, **options)


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_application_says_whose_projects_are_whose(akeys, is_async):
    asked = []

    def may_manage(principal, project_id):
        asked.append((principal.user_id, project_id))
        return (principal.user_id, project_id) == ("user-7", "2")

    async def may_manage_later(principal, project_id):
        return may_manage(principal, project_id)

    office = Office(akeys, may_manage=may_manage_later if is_async else may_manage)
    member, guest = await office.person("user-7"), await office.person("user-8")
    path = f"{PROJECT}/{(await member.create())['key']['id']}"
    assert asked == [("user-7", "2")]
    await guest.create(status=404)
    for method in ("GET", "DELETE"):
        await guest.ask(method, path, 404)
    await member.get("/projects/3/keys", 404)
    await member.get(path)
    await guest.get(OWN)  # one's own keys are nobody else's business
    limited = await office.person("user-7", projects=["3"])
    await limited.get(PROJECT, 404)  # what the key does not reach, no word opens
    assert set(asked) == {("user-7", "2"), ("user-8", "2"), ("user-7", "3")}


CALLER = ["api_key:write", "endpoint:write", "batch:read"]


@pytest.mark.parametrize("place", [PROJECT, OWN])
class TestNobodyHandsOutMoreThanTheyHold:
    async def test_in_new_keys(self, office, place):
        person = await office.person(scopes=CALLER)
        for scopes, missing in (
            (["batch:write"], "batch:write"),
            (["endpoint:read", "flag:read"], "flag:read"),
            (["api_key:write", "batch:read", "zone:write"], "zone:write"),
        ):
            problem = await person.create(place, scopes=scopes, status=403)
            assert problem["code"] == "more_than_held"
            assert repr(missing) in problem["detail"]
            assert [error["field"] for error in problem["errors"]] == ["scopes"]
        made = await person.create(place, scopes=["endpoint:read", "batch:read"])
        listed = [key["id"] for key in (await person.get(place))["results"]]
        assert set(listed) <= {made["key"]["id"], person.key.id}

    async def test_in_edits(self, office, place):
        owner, person = await office.person(), await office.person(scopes=CALLER)
        made = await owner.create(place, scopes=["flag:write", "endpoint:read"])
        path = f"{place}/{made['key']['id']}"
        problem = await person.patch(path, {"scopes": ["flag:write", "batch:write"]}, 403)
        assert repr("batch:write") in problem["detail"]
        assert (await person.get(path))["version"] == 1
        # What the key has already, it may keep, or have less of; what the caller has may be added.
        for scopes in (["flag:write", "batch:read"], ["flag:read"], ["endpoint:write"]):
            changed = await person.patch(path, {"scopes": scopes})
            assert changed["key"]["scopes"] == sorted(scopes)
        problem = await person.patch(path, {"scopes": ["flag:read"]}, 403)
        assert repr("flag:read") in problem["detail"]

    async def test_by_rolling(self, office, place):
        owner, person = await office.person(), await office.person(scopes=CALLER)
        made = await owner.create(place, scopes=["endpoint:read", "flag:read"])
        path = f"{place}/{made['key']['id']}"
        problem = await person.post(f"{path}/roll", None, 403)
        assert problem["code"] == "more_than_held"
        assert repr("flag:read") in problem["detail"]
        assert made["token"][-4:] not in str(problem)
        assert (await person.get(path))["version"] == 1
        await person.patch(path, {"scopes": ["endpoint:write", "batch:read"]})
        await person.post(f"{path}/roll")

    async def test_but_anything_may_be_ended(self, office, place):
        owner, person = await office.person(), await office.person(scopes=CALLER)
        made = await owner.create(place, scopes=["flag:write"])
        await person.delete(f"{place}/{made['key']['id']}")
        assert await office.keys.verify(made["token"]) == Denied(Reason.REVOKED)


async def test_nobody_hands_out_everything_who_has_not_everything(office):
    person = await office.person(scopes=CALLER)
    assert repr("*") in (await person.create(OWN, ["*"], 403))["detail"]
    everything = await office.person()
    made = await everything.create(OWN, ["*"])
    assert repr("*") in (await person.post(f"{OWN}/{made['key']['id']}/roll", None, 403))["detail"]
    assert (await everything.create(PROJECT, ["*"], 422))["errors"][0]["field"].startswith("scopes")


SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
SOONER, LATER = (SOON + timedelta(minutes=minutes) for minutes in (-1, 1))


class TestWhoseKeyEnds:
    """Or a key that is to end would make itself, or another one, last for ever."""

    @pytest.mark.parametrize("place", [PROJECT, OWN])
    async def test_makes_keys_that_end_by_then(self, office, place):
        person = await office.person(expires_at=SOON)
        for late in ({}, {"expires_at": None}, {"expires_at": LATER.isoformat()}):
            problem = await person.create(place, status=403, **late)
            assert (problem["code"], fields(problem)) == ("more_than_held", ["expires_at"])
            assert SOON.isoformat().replace("+00:00", "Z") in problem["detail"]
        for end in (SOON, SOONER):
            assert (await person.create(place, expires_at=end.isoformat()))["key"]["expires_at"]

    @pytest.mark.parametrize("place", [PROJECT, OWN])
    async def test_lets_no_key_last_longer(self, office, place):
        owner, person = await office.person(), await office.person(expires_at=SOON)
        key = (await owner.create(place, expires_at=SOONER.isoformat()))["key"]
        path = f"{place}/{key['id']}"
        for late in (None, LATER.isoformat()):
            assert fields(await person.patch(path, {"expires_at": late}, 403)) == ["expires_at"]
        assert (await office.keys.get(key["id"])).expires_at == SOONER
        await person.patch(path, {"expires_at": SOON.isoformat()})
        await person.patch(path, {"expires_at": SOONER.isoformat()})
        await person.post(f"{path}/roll")

    async def test_is_not_moved_by_itself(self, office):
        person = await office.person(expires_at=SOON)
        own = f"{OWN}/{person.key.id}"
        assert fields(await person.patch(own, {"expires_at": None}, 403)) == ["expires_at"]
        assert (await office.keys.get(person.key.id)).expires_at == SOON

    @pytest.mark.parametrize("place", [PROJECT, OWN])
    async def test_gets_no_secret_that_outlasts_it(self, office, place):
        owner, person = await office.person(), await office.person(expires_at=SOON)
        path = f"{place}/{(await owner.create(place))['key']['id']}"
        assert fields(await person.post(f"{path}/roll", None, 403)) == ["expires_at"]
        await person.patch(path, {"label": "renamed", "scopes": ["endpoint:read"]})
        await person.patch(path, {"expires_at": SOON.isoformat()})
        await person.post(f"{path}/roll")


async def test_a_longer_life_is_handed_out_like_scopes(office):
    """So who may not roll a key may not lengthen it either, but may cut it short."""
    owner, person = await office.person(), await office.person(scopes=CALLER)
    made = await owner.create(scopes=["flag:write"], expires_at=SOON.isoformat())
    path = f"{PROJECT}/{made['key']['id']}"
    problem = await person.patch(path, {"expires_at": None}, 403)
    assert (problem["code"], fields(problem)) == ("more_than_held", ["expires_at"])
    await person.patch(path, {"expires_at": SOONER.isoformat()})
    await owner.patch(path, {"expires_at": None})


LIMITS = {"projects": ["2", "3"], "organizations": ["o"]}


async def test_new_personal_keys_are_limited_as_the_callers_is(office):
    person = await office.person(**LIMITS)
    inherited = (await person.create(OWN))["key"]
    assert (inherited["projects"], inherited["organizations"]) == (["2", "3"], ["o"])
    narrower = (await person.create(OWN, projects=["3"], organizations=[]))["key"]
    assert (narrower["projects"], narrower["organizations"]) == (["3"], [])
    for limits, field in (({"projects": ["4"]}, "projects"), ({"organizations": ["p"]}, None)):
        problem = await person.create(OWN, status=403, **limits)
        assert problem["errors"][0]["field"] == (field or "organizations")
    free = await office.person()
    assert (await free.create(OWN))["key"]["projects"] is None
    assert (await free.create(OWN, projects=["4"]))["key"]["projects"] == ["4"]


async def test_less_limited_keys_give_a_limited_caller_nothing(office):
    free, person = await office.person(), await office.person(**LIMITS)
    wide = f"{OWN}/{(await free.create(OWN))['key']['id']}"
    wider = f"{OWN}/{(await free.create(OWN, projects=['2', '4']))['key']['id']}"
    same = f"{OWN}/{(await free.create(OWN, **LIMITS))['key']['id']}"
    for path in (wide, wider):
        assert (await person.post(f"{path}/roll", None, 403))["code"] == "more_than_held"
        problem = await person.patch(path, {"scopes": ["endpoint:write"]}, 403)
        assert problem["errors"][0]["field"] == "projects"
        await person.patch(path, {"label": "renamed"})
        await person.patch(path, {"scopes": ["endpoint:read"]})
    await person.patch(same, {"scopes": ["endpoint:write"]})
    await person.post(f"{same}/roll")
    await person.delete(wide)
