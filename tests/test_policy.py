from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keymw import Denied, Granted, KeyKind, Reason, ScopeCatalog, ServicePrincipal, UserPrincipal
from keymw.errors import InvalidInput
from keymw.policy import Record, decide, judge, make_demand

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(microseconds=1), NOW + timedelta(microseconds=1)
READ = frozenset({"endpoint:read"})


def record(kind=KeyKind.PROJECT_SECRET, scopes=READ, **changes):
    owner = {"project_id": "2"} if kind is KeyKind.PROJECT_SECRET else {"user_id": "ann"}
    return Record("k1", kind, "label", frozenset(scopes), 1, **(owner | changes))


def principal(kind=KeyKind.PROJECT_SECRET, scopes=READ, **changes):
    verdict = judge(record(kind, scopes, **changes), NOW, None)
    assert isinstance(verdict, Granted)
    return verdict.principal


# ---- judge ------------------------------------------------------------------------------------


def test_nobody_issued_it():
    assert judge(None, NOW, None) == Denied(Reason.INVALID)


@pytest.mark.parametrize(
    ("kind", "revoked", "expires", "retired", "active"),
    list(
        product(
            KeyKind,
            [None, BEFORE, AFTER],
            [None, BEFORE, NOW, AFTER],
            [None, BEFORE, NOW, AFTER],
            [True, False],
        )
    ),
)
def test_every_way_to_be_no_good(kind, revoked, expires, retired, active):
    found = judge(
        record(
            kind,
            revoked_at=revoked,
            expires_at=expires,
            retired_until=retired,
            owner_active=active,
        ),
        NOW,
        None,
    )
    reasons = set()
    if revoked is not None:
        reasons.add(Reason.REVOKED)  # also if the clock that wrote it was ahead
    if expires in (BEFORE, NOW):
        reasons.add(Reason.EXPIRED)
    if retired in (BEFORE, NOW):
        reasons.add(Reason.ROLLED)
    if not active:
        reasons.add(Reason.OWNER_INACTIVE)
    if reasons:
        assert isinstance(found, Denied)
        assert found.reason in reasons
    else:
        assert isinstance(found, Granted)


def test_a_project_key_becomes_a_service():
    found = judge(record(), NOW, None).principal
    assert found == ServicePrincipal("k1", "2", "label", READ)
    assert (found.kind, found.user_id) == (KeyKind.PROJECT_SECRET, None)
    assert (found.is_authenticated, found.display_name, found.identity) == (True, "label", "k1")


def test_a_personal_key_becomes_its_user():
    found = principal(KeyKind.PERSONAL, projects=frozenset({"1"}), organizations=frozenset({"o"}))
    assert isinstance(found, UserPrincipal)
    assert (found.user_id, found.display_name, found.identity) == ("ann", "ann", "ann")
    assert (found.projects, found.organizations) == ({"1"}, {"o"})
    assert found.project_id is None


@pytest.mark.parametrize("kind", KeyKind)
def test_a_row_without_its_owner_is_nobodys(kind):
    broken = record(kind, project_id=None, user_id=None)
    assert judge(broken, NOW, None) == Denied(Reason.INVALID)
    other = {"user_id": "ann", "project_id": None}
    if kind is KeyKind.PERSONAL:
        other = {"user_id": None, "project_id": "2"}
    assert judge(record(kind, **other), NOW, None) == Denied(Reason.INVALID)


def test_a_wildcard_in_a_project_keys_row_counts_for_nothing():
    found = principal(scopes=["*", "endpoint:read"])
    assert found.scopes == READ
    assert decide(found, make_demand(("other:read",), KeyKind, None), None) is not None


def test_a_narrowed_catalog_narrows_stored_keys():
    catalog = ScopeCatalog({"endpoint": ("read", "write")}, ("endpoint:read",))
    row = record(scopes=["endpoint:read", "endpoint:write", "gone:read"])
    assert judge(row, NOW, catalog).principal.scopes == READ


def test_when_a_secret_ends():
    assert record().ends_at is None
    assert record(expires_at=AFTER).ends_at == AFTER
    assert record(expires_at=AFTER, retired_until=NOW).ends_at == NOW
    assert record(retired_until=AFTER).ends_at == AFTER


def test_what_a_record_is_made_of():
    assert record().entities == (("key:k1", 1),)
    personal = record(KeyKind.PERSONAL, owner_version=3)
    assert personal.entities == (("key:k1", 1), ("user:ann", 3))


# ---- demands ----------------------------------------------------------------------------------


def test_a_demand_keeps_its_scopes_in_order():
    demand = make_demand(("b:read", "a:read", "b:read"), ["personal"], "project_id")
    assert demand.scopes == ("b:read", "a:read")
    assert demand.needed == {"a:read", "b:read"}
    assert demand.kinds == {KeyKind.PERSONAL}
    assert demand.project == "project_id"


@pytest.mark.parametrize(
    ("scopes", "kinds", "project", "field"),
    [
        (("*",), KeyKind, None, "scopes"),
        (("a:read", "*"), KeyKind, None, "scopes"),
        (("a",), KeyKind, None, "scopes"),
        ((), [], None, "kinds"),
        ((), "", None, "kinds"),
        ((), ["robot"], None, "kinds"),
        ((), "robot", None, "kinds"),
        ((), ["personal", "robot"], None, "kinds"),
        ((), KeyKind, "", "project"),
        ((), KeyKind, 2, "project"),
        ((), KeyKind, ["project_id"], "project"),
    ],
)
def test_a_malformed_demand_is_refused(scopes, kinds, project, field):
    with pytest.raises(InvalidInput) as caught:
        make_demand(scopes, kinds, project)
    assert caught.value.field == field


# ---- decide -----------------------------------------------------------------------------------

SCOPES = ["a:read", "a:write", "b:read", "b:write"]


def grants(held, kind, scope):
    """Say the rules in other words than the code's."""
    if "*" in held and kind is KeyKind.PERSONAL:
        return True
    name, _, action = scope.partition(":")
    return scope in held or (action == "read" and f"{name}:write" in held)


@given(
    st.sampled_from(list(KeyKind)),
    st.frozensets(st.sampled_from([*SCOPES, "*"])),
    st.lists(st.sampled_from(SCOPES), max_size=4),
    st.frozensets(st.sampled_from(list(KeyKind)), min_size=1),
)
def test_kinds_and_scopes(kind, held, demanded, kinds):
    found = decide(principal(kind, held), make_demand(tuple(demanded), kinds, None), None)
    missing = [scope for scope in demanded if not grants(held, kind, scope)]
    if kind not in kinds:
        assert found.reason is Reason.KIND
        assert found.subject == kind.plural
    elif missing:
        assert found.reason is Reason.SCOPE
        assert found.subject == missing[0]
        assert found.scopes == tuple(dict.fromkeys(demanded))
    else:
        assert found is None


PROJECTS = ["2", "02", "\uff12", " 2", "2 ", "2\n", "+2", "2.0", "", "22", "1", "two", "TWO"]


@pytest.mark.parametrize(("own", "asked"), list(product(PROJECTS, [*PROJECTS, None])))
def test_projects_are_compared_exactly(own, asked):
    demand = make_demand((), KeyKind, "project_id")
    same = own == asked
    for found in (
        principal(project_id=own),
        principal(KeyKind.PERSONAL, projects=frozenset({own})),
        principal(KeyKind.PERSONAL, projects=frozenset({own, "x"})),
    ):
        denied = decide(found, demand, asked)
        assert (denied is None) is same
        if denied is not None:
            assert denied.reason is Reason.PROJECT


@pytest.mark.parametrize(
    ("projects", "organizations", "lets"),
    [
        (None, None, True),
        (frozenset({"2"}), None, True),
        (frozenset({"3"}), None, False),
        (frozenset(), None, False),
        (None, frozenset({"o"}), False),
        (None, frozenset(), False),
        (frozenset({"2"}), frozenset({"o"}), True),
    ],
)
def test_what_a_personal_key_reaches(projects, organizations, lets):
    found = principal(KeyKind.PERSONAL, projects=projects, organizations=organizations)
    demand = make_demand((), KeyKind, "project_id")
    assert (decide(found, demand, "2") is None) is lets
    assert decide(found, demand, None).reason is Reason.PROJECT


def test_an_int_from_a_converter_is_compared_by_its_text():
    demand = make_demand((), KeyKind, "project_id")
    assert decide(principal(), demand, 2) is None
    assert decide(principal(), demand, 3) is not None
    assert decide(principal(project_id="02"), demand, 2) is not None


def test_an_empty_scope_set_grants_nothing():
    for kind in KeyKind:
        found = decide(principal(kind, ()), make_demand(("a:read",), KeyKind, None), None)
        assert found.reason is Reason.SCOPE
        assert decide(principal(kind, ()), make_demand((), KeyKind, None), None) is None
