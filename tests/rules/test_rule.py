"""What a rule may say, and what it is told when it may not."""

from __future__ import annotations

import pytest

from keymw import InvalidInput, KeyKind
from keymw.rules import Rule, Rules


def test_a_rule_says_what_require_scopes_says():
    rule = Rule(
        ["GET", "POST"],
        "/projects/{project_id}/runs/{number:int}",
        ["run:read"],
        ["project_secret", "personal"],
        "project_id",
    )
    assert rule.demand.scopes == ("run:read",)
    assert rule.demand.kinds == {KeyKind.PROJECT_SECRET, KeyKind.PERSONAL}
    assert rule.demand.project == "project_id"
    assert rule.project_of("/projects/2/runs/3") == "2"
    assert str(rule) == "GET POST /projects/{project_id}/runs/{number:int}"
    assert rule == Rule(
        ("GET", "POST"), rule.path, iter(["run:read"]), iter(rule.kinds), "project_id"
    )
    assert hash(rule)


def test_a_rule_takes_personal_keys_unless_it_says_otherwise():
    assert Rule("GET", "/").demand.kinds == {KeyKind.PERSONAL}
    assert Rule("GET", "/").demand.needed == set()
    assert Rule("GET", "/", open=True).demand is None
    assert Rule("GET", "/a", kinds="project_secret").demand.kinds == {KeyKind.PROJECT_SECRET}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule([], "/"), "methods: name at least one"),
        (lambda: Rule("", "/"), "methods: '' is no method"),
        (lambda: Rule(5, "/"), "methods: name at least one"),
        (lambda: Rule("get", "/"), "methods: 'get' is no method: write it in capitals"),
        (lambda: Rule("GET,POST", "/"), "methods: 'GET,POST' is no method"),
        (lambda: Rule(["GET", 5], "/"), "methods: 5 is no method"),
        (lambda: Rule("HEAD", "/"), "methods: HEAD follows GET"),
        (lambda: Rule(["GET", "GET"], "/"), "methods: GET, GET: one of them is there already"),
        (lambda: Rule(["*", "GET"], "/"), "methods: .* one of them is there already"),
        (lambda: Rule("GET", ""), "path: '' does not start with a slash"),
        (lambda: Rule("GET", None), "path: None does not start with a slash"),
        (lambda: Rule("GET", "a/b"), "path: 'a/b' does not start with a slash: write /items/{id}"),
        (lambda: Rule("GET", "/a//b"), "path: '/a//b' is not in its plain form"),
        (lambda: Rule("GET", "/a/../b"), "is not in its plain form"),
        (lambda: Rule("GET", "/a%20b"), "is not in its plain form"),
        (lambda: Rule("GET", "/a;b"), "is not in its plain form"),
        (lambda: Rule("GET", "/a?b=c"), "is not in its plain form"),
        (lambda: Rule("GET", "/a\n"), "is not in its plain form"),
        (lambda: Rule("GET", "/<id>/{id"), "{id is no whole segment like {name} or {name:int}"),
        (lambda: Rule("GET", "/v{id}"), "v{id} is no whole segment"),
        (lambda: Rule("GET", "/{id}.json"), "{id}.json is no whole segment"),
        (lambda: Rule("GET", "/{}"), "{} is no whole segment"),
        (lambda: Rule("GET", "/{1}"), "{1} is no whole segment"),
        (lambda: Rule("GET", "/{id:uuid}"), "'uuid' is not str, int or path"),
        (lambda: Rule("GET", "/{id}/{id}"), "has two parameters called 'id'"),
        (lambda: Rule("GET", "/{id}/{id:path}"), "has two parameters called 'id'"),
        (lambda: Rule("GET", "/{a:path}/b"), "{a:path} takes all that is left: put it last"),
        (lambda: Rule("GET", "/", "a:read"), "scopes: give a list of scopes, not one string"),
        (lambda: Rule("GET", "/", 5), "scopes: give a list of scopes, not int"),
        (lambda: Rule("GET", "/", ["read"]), "scopes: 'read' is not a scope"),
        (lambda: Rule("GET", "/", ["*"]), "scopes: a route cannot demand '*'"),
        (lambda: Rule("GET", "/", kinds=["robot"]), "kinds: .* a kind other than"),
        (lambda: Rule("GET", "/", kinds=[]), "kinds: the route takes no key at all"),
        (lambda: Rule("GET", "/", kinds=5), "kinds: give a list of kinds"),
        (lambda: Rule("GET", "/{id}", project="pid"), "project: '/{id}' has no segment {pid}"),
        (lambda: Rule("GET", "/id", project="id"), "project: '/id' has no segment {id}"),
        (lambda: Rule("GET", "/{id:path}", project="id"), "project: .* has no segment {id}"),
        (lambda: Rule("GET", "/{id}", project=""), "project: give the name"),
        (lambda: Rule("GET", "/", open="yes"), "open: give true or false"),
        (lambda: Rule("GET", "/", ["a:read"], open=True), "open: an open rule demands nothing"),
        (lambda: Rule("GET", "/", kinds=["project_secret"], open=True), "open: an open rule"),
        (lambda: Rule("GET", "/{id}", project="id", open=True), "open: an open rule"),
    ],
)
def test_what_is_no_rule_is_refused_when_it_is_made(make, message):
    with pytest.raises(InvalidInput) as refused:
        make()
    for part in message.split(" .* "):
        assert part in str(refused.value)


@pytest.mark.parametrize("default", ["", "allow", None, True, "Deny"])
def test_a_default_has_to_be_chosen(default):
    with pytest.raises(InvalidInput, match=r'default: choose .* "deny" refuses it, "open" lets'):
        Rules([Rule("GET", "/")], default)
    with pytest.raises(InvalidInput, match="default: choose"):
        Rules([Rule("GET", "/")])


def test_what_is_no_list_of_rules_is_refused():
    for wrong in ("rules.toml", [("GET", "/")], [None]):
        with pytest.raises(TypeError, match=r"rules: give Rule\(…\), not"):
            Rules(wrong, "deny")


def test_rules_say_what_they_are():
    rules = Rules([Rule("GET", "/")], "open")
    assert repr(rules) == "<Rules: 1, else open>"
    assert rules.rules == (Rule("GET", "/"),)
    assert rules.default == "open"
