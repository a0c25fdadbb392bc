from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keymw import KeyKind, ScopeCatalog
from keymw.errors import InvalidInput
from keymw.principals import granted_by
from keymw.scopes import check_grant, parse_scopes, usable

OBJECTS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
ACTIONS = st.sampled_from(["read", "write"])
SCOPES = st.builds("{}:{}".format, OBJECTS, ACTIONS)

BAD = [
    "",
    ":",
    "read",
    "a:",
    ":read",
    "a:read:x",
    "A:read",
    "a:Read",
    "a:READ",
    "a: read",
    " a:read",
    "a:read ",
    "a:read\n",
    "a:read\x00",
    "1a:read",
    "_a:read",
    "a-b:read",
    "a.b:read",
    "a b:read",
    "a:admin",
    "a:*",
    "*:read",
    "**",
    "\u00e9:read",
    "\u0430b:read",
    "a\uff12:read",
    'a:read"',
    "a:read,b:read",
    "a:read b:read",
]


@given(st.lists(SCOPES | st.just("*")))
def test_well_formed_scopes_are_kept_as_a_set(scopes):
    assert parse_scopes(scopes) == frozenset(scopes)
    assert parse_scopes(iter(scopes)) == frozenset(scopes)


@pytest.mark.parametrize("scope", BAD)
def test_malformed_scopes_are_refused(scope):
    for scopes in ([scope], ["a:read", scope], (scope,)):
        with pytest.raises(InvalidInput) as caught:
            parse_scopes(scopes)
        assert caught.value.field == "scopes"
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("scopes", [None, 5, "a:read"])
def test_what_is_no_list_of_scopes_is_refused(scopes):
    with pytest.raises(InvalidInput, match="list of scopes"):
        parse_scopes(scopes)


@given(st.text(string.ascii_letters + string.digits + ":_*- ", max_size=12) | st.text(max_size=6))
def test_the_grammar(text):
    if text == "*" or re.fullmatch(r"[a-z][a-z0-9_]*:(read|write)", text, re.ASCII):
        assert parse_scopes([text]) == {text}
    else:
        with pytest.raises(InvalidInput):
            parse_scopes([text])


@pytest.mark.parametrize("scopes", ["a:read", "*", ""])
def test_one_string_is_no_list(scopes):
    with pytest.raises(InvalidInput, match="list"):
        parse_scopes(scopes)


@pytest.mark.parametrize("scope", [None, 5, b"a:read", ["a:read"], True])
def test_what_is_no_text_is_refused(scope):
    with pytest.raises(InvalidInput):
        parse_scopes([scope])


@given(st.frozensets(SCOPES | st.just("*")))
def test_write_grants_read_of_the_same_object_and_nothing_else(scopes):
    expected = set(scopes)
    for scope in scopes:
        name, _, action = scope.partition(":")
        if action == "write":
            expected.add(f"{name}:read")
    assert granted_by(scopes) == expected


def test_equal_sets_are_one_object():
    one, two = granted_by(frozenset(["a:write"])), granted_by(frozenset(["a:" + "write"]))
    assert one is two


# ---- the catalog ------------------------------------------------------------------------------

CATALOG = ScopeCatalog(
    {"endpoint": ("read", "write"), "flag": ["read"], "note": "read"},
    project_secret=("endpoint:read", "flag:read"),
)


def test_a_catalog_knows_its_scopes():
    assert CATALOG.scopes == {"endpoint:read", "endpoint:write", "flag:read", "note:read"}
    assert CATALOG.project_secret == {"endpoint:read", "flag:read"}
    assert ScopeCatalog({}).scopes == frozenset()
    assert ScopeCatalog({"a": ("read",)}).project_secret == frozenset()


@pytest.mark.parametrize(
    ("objects", "project_secret"),
    [
        ({"Endpoint": ("read",)}, ()),
        ({5: ("read",)}, ()),
        (["endpoint:read"], ()),
        (None, ()),
        ({"": ("read",)}, ()),
        ({"a b": ("read",)}, ()),
        ({"a:read": ("read",)}, ()),
        ({"a\n": ("read",)}, ()),
        ({"a": ("admin",)}, ()),
        ({"a": ("Read",)}, ()),
        ({"a": ("*",)}, ()),
        ({"a": "admin"}, ()),
        ({"a": ("read",)}, ("a:write",)),
        ({"a": ("read",)}, ("b:read",)),
        ({"a": ("read",)}, ("*",)),
        ({"a": ("read",)}, ("nonsense",)),
        ({"a": ("read",)}, "a:read"),
    ],
)
def test_a_malformed_catalog_is_refused(objects, project_secret):
    with pytest.raises(InvalidInput):
        ScopeCatalog(objects, project_secret)


def test_a_project_secret_key_never_holds_the_wildcard():
    for catalog in (None, CATALOG):
        for scopes in (["*"], ["*", "endpoint:read"]):
            with pytest.raises(InvalidInput, match="cannot hold"):
                check_grant(KeyKind.PROJECT_SECRET, scopes, catalog)
        assert check_grant(KeyKind.PERSONAL, ["*"], catalog) == {"*"}


def test_a_grant_is_held_to_the_catalog():
    for kind in KeyKind:
        with pytest.raises(InvalidInput, match="catalog"):
            check_grant(kind, ["ghost:read"], CATALOG)
        assert check_grant(kind, ["ghost:read"], None) == {"ghost:read"}
        for catalog in (CATALOG, None):
            with pytest.raises(InvalidInput, match="at least one"):
                check_grant(kind, [], catalog)
    with pytest.raises(InvalidInput, match="note:read"):
        check_grant(KeyKind.PROJECT_SECRET, ["endpoint:read", "note:read"], CATALOG)
    with pytest.raises(InvalidInput, match="endpoint:write"):
        check_grant(KeyKind.PROJECT_SECRET, ["endpoint:write"], CATALOG)
    assert check_grant(KeyKind.PERSONAL, ["note:read", "endpoint:write"], CATALOG)


def test_what_may_be_written_may_be_read():
    catalog = ScopeCatalog({"a": ("read", "write")}, project_secret=("a:write",))
    assert check_grant(KeyKind.PROJECT_SECRET, ["a:read"], catalog) == {"a:read"}


@given(st.frozensets(SCOPES | st.just("*") | st.sampled_from(sorted(CATALOG.scopes))))
def test_what_a_stored_project_key_holds_is_checked_again_when_it_is_used(scopes):
    assert usable(KeyKind.PROJECT_SECRET, scopes, None) == scopes - {"*"}
    assert usable(KeyKind.PROJECT_SECRET, scopes, CATALOG) == scopes & CATALOG.project_secret
    assert usable(KeyKind.PERSONAL, scopes, None) == scopes


@given(st.frozensets(SCOPES), st.sampled_from(list(KeyKind)))
def test_what_was_granted_can_be_used(scopes, kind):
    assume(scopes)
    granted = check_grant(kind, scopes, None)
    assert usable(kind, granted, None) == granted
