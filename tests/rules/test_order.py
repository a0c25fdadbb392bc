"""Which rules may stand together, and in which order."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keymw import InvalidInput
from keymw.rules import Rule, Rules
from keymw.rules.reading import read
from keymw.rules.templates import parse

UNREACHABLE = "takes all its requests, so that it can never be reached"
BEHIND = "is more general and stands before it: put the more specific one first"
ALIKE = "has the same paths but for what apps may take for the same"
PARTLY = "has the same paths and some of its methods"
CROSSED = "has some of its requests, and neither is the more specific"


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        (("GET", "/a"), ("GET", "/a"), UNREACHABLE),
        (("*", "/a"), ("GET", "/a"), UNREACHABLE),
        (("*", "/a"), ("*", "/a"), UNREACHABLE),
        (("*", "/a"), ("WEBSOCKET", "/a"), UNREACHABLE),
        (("GET POST", "/a"), ("GET", "/a"), UNREACHABLE),
        (("GET", "/{x}"), ("GET", "/{y}"), UNREACHABLE),
        (("GET", "/{x}"), ("GET", "/a"), UNREACHABLE),
        (("GET", "/{x}"), ("GET", "/{y:int}"), UNREACHABLE),
        (("GET", "/{x:int}"), ("GET", "/5"), UNREACHABLE),
        (("GET", "/{x:path}"), ("GET", "/a/b"), UNREACHABLE),
        (("GET", "/{x:path}"), ("GET", "/"), UNREACHABLE),
        (("GET", "/a/{x:path}"), ("GET", "/a"), UNREACHABLE),
        (("GET", "/a/{x:path}"), ("GET", "/a/{y}/{z:path}"), UNREACHABLE),
        (("GET", "/a"), ("GET", "/A"), ALIKE),
        (("GET", "/a"), ("GET", "/a/"), ALIKE),
        (("*", "/straße"), ("GET", "/STRASSE"), ALIKE),
        (("GET", "/{x}"), ("*", "/a"), BEHIND),
        (("GET", "/{x:path}"), ("GET POST", "/a"), BEHIND),
        (("GET PUT", "/a"), ("GET POST", "/a"), PARTLY),
        (("GET POST", "/a/{x}"), ("GET PUT", "/A/{y}"), PARTLY),
        (("GET", "/a/{x}"), ("GET", "/{x}/b"), CROSSED),
        (("*", "/a/{x}"), ("GET", "/{x}/b"), CROSSED),
        (("GET", "/a/{x:path}"), ("GET", "/{x}/b"), CROSSED),
        (("GET", "/{x:int}/{y}"), ("GET", "/{x}/{y:int}"), CROSSED),
        (("GET", "/a"), ("GET", "/{x}"), None),
        (("GET", "/a"), ("*", "/{x}"), None),
        (("*", "/a"), ("GET", "/{x}"), None),
        (("GET", "/a"), ("*", "/a"), None),
        (("GET", "/a"), ("GET POST", "/a"), None),
        (("GET", "/{x:int}"), ("GET", "/{x}"), None),
        (("GET", "/5"), ("GET", "/{x:int}"), None),
        (("GET", "/a/{x}"), ("GET", "/a/{x:path}"), None),
        (("GET", "/a"), ("GET", "/a/{x:path}"), None),
        (("GET", "/{x:int}"), ("GET", "/a"), None),
        (("GET", "/a/{x}"), ("GET", "/b/{x}"), None),
        (("GET", "/a/{x}"), ("POST", "/a/{x}"), None),
        (("GET", "/a/{x}"), ("WEBSOCKET", "/{x}/b"), None),
        (("GET", "/a/{x}"), ("GET", "/a/{x}/{y}"), None),
        (("GET", "/a/{x}"), ("GET", "/a/"), None),
    ],
)
def test_two_rules_stand_in_the_order_of_their_generality(first, second, problem):
    rules = [Rule(methods.split(), path, open=True) for methods, path in (first, second)]
    if problem is None:
        assert Rules(rules, "deny").rules == tuple(rules)
        return
    named = rf"rules: rule 2 \({re.escape(str(rules[1]))}\): rule 1 \({re.escape(str(rules[0]))}\) "
    with pytest.raises(InvalidInput, match=named + re.escape(problem)):
        Rules(rules, "deny")


def test_a_rule_whose_methods_are_all_taken_can_never_be_reached():
    rules = [Rule("GET", "/a"), Rule("POST", "/a"), Rule(["GET", "POST"], "/a")]
    with pytest.raises(InvalidInput, match=rf"rule 3 .*: rule 2 .* {UNREACHABLE}"):
        Rules(rules, "deny")
    assert Rules([*rules[:2], Rule("*", "/a")], "deny")


PIECES = st.sampled_from(["a", "b", "7", "{x}", "{y:int}"])
METHODS = st.sampled_from(["GET", "POST", "GET POST", "*"])


@st.composite
def templates(draw):
    pieces = draw(st.lists(PIECES, max_size=3))
    named = [piece.replace("{", f"{{p{place}") for place, piece in enumerate(pieces)]
    return "/" + "/".join([*named, *draw(st.sampled_from([[], ["{rest:path}"], [""]]))])


def paths():
    return st.lists(st.sampled_from(["a", "b", "7", "c", "A"]), max_size=4).map(
        lambda pieces: "/" + "/".join(pieces)
    )


def asked(method, path):
    return read({"type": "http", "method": method, "path": path, "raw_path": b"", "headers": []})


@given(st.lists(st.tuples(METHODS, templates()), max_size=5), METHODS, paths())
def test_a_request_fits_no_rule_more_specific_than_its_own(given_rules, methods, path):
    """Whatever rules are taken together: the first that fits is the most specific that does."""
    try:
        rules = Rules([Rule(m.split(), p, open=True) for m, p in given_rules], "deny")
    except (InvalidInput, ValueError):
        return
    method = methods.split()[0].replace("*", "PATCH")
    found = rules._find(asked(method, path))
    if not isinstance(found, Rule):
        return
    for other in rules.rules:
        if {"*", method} & other.takes and re.fullmatch(other.template.exact, path):
            assert other.template.covers(found.template)


@given(templates(), templates(), paths())
def test_what_covers_and_what_meets_is_so_path_by_path(one, other, path):
    try:
        first, second = parse(one), parse(other)
    except InvalidInput:
        return  # "//"
    loose = path.lower().removesuffix("/")
    fits = [re.fullmatch(template.loose, loose) is not None for template in (first, second)]
    if all(fits):
        assert first.meets(second)
        assert second.meets(first)
    if first.covers(second):
        assert first.meets(second)
        assert fits[0] or not fits[1]
    if re.fullmatch(first.exact, path):
        assert fits[0]
