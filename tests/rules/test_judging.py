"""What rules demand, through each face: the same as decorators, with the same answers."""

from __future__ import annotations

import json

import pytest

from faces.cases import ANONYMOUS_DETAIL, INVALID, NARROW, Case, check_refusal
from faces.credentials import bearer, credentials, issue
from keymw import AsyncKeyService, InvalidInput, KeyService, ScopeCatalog
from keymw.asgi import KeyAuthMiddleware as AsgiMiddleware
from keymw.rules import Rule, Rules
from keymw.wsgi import KeyAuthMiddleware as WsgiMiddleware
from rules.asking import KINDS, ask

RULES = [
    Rule("*", "/health", open=True),
    Rule("*", "/humans", ["endpoint:read"]),
    Rule("*", "/machines", ["endpoint:read"], ["project_secret"]),
    Rule("*", "/both", ["endpoint:read"], KINDS),
    Rule("*", "/writers", ["endpoint:write", "batch:read"], KINDS),
    Rule("*", "/projects/{project_id}", kinds=KINDS, project="project_id"),
    Rule("*", "/numbers/{number:int}/of", kinds=KINDS, project="number"),
    Rule("*", "/files/{name:path}", ["file:read"], KINDS),
]
MISSING = "not_authenticated"
NO_RULE = "This endpoint is not open to API keys."
KIND = "This endpoint does not support project secret API keys."
PROJECT = "API key does not have access to the requested project."


def case_of(state, path, status, code, detail, challenge):
    title = {401: "Unauthorized", 403: "Forbidden"}[status]
    return Case(state, path, status, code, detail, challenge, title)


def scope_missing(scope, *scopes):
    return (
        403,
        "scope_missing",
        f"API key missing required scope '{scope}'.",
        f'{NARROW}, scope="{" ".join(scopes or (scope,))}"',
    )


ANONYMOUS = (401, MISSING, ANONYMOUS_DETAIL, "")
DENIED = (403, "no_rule", NO_RULE, "")
WRONG_PROJECT = (403, "wrong_project", PROJECT, NARROW)
WRONG_KIND = (403, "kind_not_supported", KIND, NARROW)

CASES = [
    case_of(state, path, *answer)
    for state, path, answer in [
        ("none", "/humans", ANONYMOUS),
        ("basic", "/humans", ANONYMOUS),
        ("foreign", "/humans", (401, "unrecognized_credentials", "The API key is invalid.",
                                INVALID)),
        ("project", "/humans", WRONG_KIND),
        ("personal", "/machines", (403, "kind_not_supported",
                                   KIND.replace("project secret", "personal"), NARROW)),
        ("empty", "/both", scope_missing("endpoint:read")),
        ("half", "/writers", scope_missing("batch:read", "endpoint:write", "batch:read")),
        ("project", "/projects/3", WRONG_PROJECT),
        ("project", "/projects/02", WRONG_PROJECT),
        ("project", "/numbers/02/of", WRONG_PROJECT),
        ("none", "/projects/2", ANONYMOUS),
        ("project", "/files/a/b/c", scope_missing("file:read")),
        ("project", "/files/", scope_missing("file:read")),
        ("none", "/nowhere", DENIED),
        ("project", "/nowhere", DENIED),
        ("star", "/nowhere", DENIED),
        ("none", "/", DENIED),
        ("none", "/projects/2/more", DENIED),
        ("none", "/numbers/x/of", DENIED),
        ("unknown", "/nowhere", (401, "invalid_key", "The API key is invalid.",
                                 INVALID)),
        ("unknown", "/health", (401, "invalid_key", "The API key is invalid.",
                                INVALID)),
    ]
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.state} {case.path}")
def test_a_rule_refuses_as_a_decorator_does(face, keys, sqlite_url, case):
    headers = credentials(keys, sqlite_url, case.state)
    reply, _ = ask(face, case.path, headers, rules=RULES)
    check_refusal(face, reply, case)


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ("none", "/health"),
        ("basic", "/health"),
        ("foreign", "/health"),
        ("project", "/health"),
        ("personal", "/humans"),
        ("project", "/machines"),
        ("project", "/both"),
        ("write", "/writers"),
        ("star", "/writers"),
        ("project", "/projects/2"),
        ("personal", "/projects/2"),
        ("project", "/numbers/2/of"),
        ("star", "/files/a/b"),
    ],
)
def test_who_meets_a_rule_comes_to_the_app(face, keys, sqlite_url, state, path):
    reply, seen = ask(face, path, credentials(keys, sqlite_url, state), rules=RULES)
    assert reply.status == 200
    assert seen.principal.is_authenticated is (state not in ("none", "basic", "foreign"))


def test_what_no_rule_is_for_may_be_open(face, keys, sqlite_url):
    rules = Rules(RULES, default="open")
    for state in ("none", "project"):
        headers = credentials(keys, sqlite_url, state)
        assert ask(face, "/nowhere", headers, rules=rules)[0].status == 200
    reply, _ = ask(face, "/humans", rules=rules)
    check_refusal(face, reply, case_of("none", "/humans", *ANONYMOUS))


def test_everything_may_be_refused(face, keys, sqlite_url):
    headers = credentials(keys, sqlite_url, "star")
    reply, _ = ask(face, "/", headers, rules=Rules([], default="deny"))
    check_refusal(face, reply, case_of("star", "/", *DENIED))


def test_required_and_strip_hold_with_rules(face, keys, sqlite_url):
    reply, _ = ask(face, "/health", rules=RULES, required=True)
    check_refusal(face, reply, case_of("none", "/health", *ANONYMOUS))
    token = issue(keys, sqlite_url, "project")
    _, seen = ask(face, "/machines", bearer(token), rules=RULES, strip_credentials=True)
    assert token not in repr(seen.connection.get("headers", seen.connection))


def test_head_follows_get(asgi, wsgi, keys, sqlite_url):
    headers = credentials(keys, sqlite_url, "project")
    rules = [Rule("GET", "/a", ["endpoint:read"], KINDS), Rule("POST", "/a", open=True)]
    for face in (asgi, wsgi):
        refused, _ = ask(face, "/a", method="HEAD", rules=rules)
        assert (refused.status, refused.body) == (401, b"")
        assert ask(face, "/a", headers, method="HEAD", rules=rules)[0].status == 200
        assert ask(face, "/a", method="POST", rules=rules)[0].status == 200


def test_methods_that_no_rule_names_are_denied_or_open(asgi, wsgi):
    rules = [Rule("GET", "/a", open=True), Rule("*", "/b", ["a:read"])]
    for face in (asgi, wsgi):
        for method in ("POST", "DELETE", "OPTIONS", "PATCH"):
            reply, _ = ask(face, "/a", method=method, rules=rules)
            assert (reply.status, code(reply)) == (403, "no_rule")
            reply, _ = ask(face, "/a", method=method, rules=Rules(rules, "open"))
            assert reply.status == 200
            assert ask(face, "/b", method=method, rules=rules)[0].status == 401


def test_a_websocket_has_a_method_of_its_own(face):
    if face.name == "wsgi":
        with pytest.raises(InvalidInput, match=r"rule 1 \(WEBSOCKET /a\): WSGI opens WebSockets"):
            ask(face, "/a", rules=[Rule("WEBSOCKET", "/a", open=True)])
        return
    is_socket = face.name != "asgi"
    for method, served in (("WEBSOCKET", is_socket), ("GET", not is_socket), ("*", True)):
        reply, _ = ask(face, "/a", rules=[Rule(method, "/a", open=True)])
        assert (reply.status == 200) is served


PREFLIGHT = [(b"origin", b"https://example.com"), (b"access-control-request-method", b"POST")]


@pytest.mark.parametrize("default", ["deny", "open"])
def test_a_preflight_goes_where_a_rule_is_for_what_follows(asgi, wsgi, default):
    rules = Rules([Rule("POST", "/a", ["a:read"]), Rule("*", "/any", ["a:read"])], default)
    for face in (asgi, wsgi):
        for path in ("/a", "/any"):
            reply, seen = ask(face, path, PREFLIGHT, method="OPTIONS", rules=rules)
            assert reply.status == 200
            assert not seen.principal.is_authenticated
        reply, _ = ask(face, "/b", PREFLIGHT, method="OPTIONS", rules=rules)
        assert reply.status == (403 if default == "deny" else 200)
        reply, _ = ask(face, "/A", PREFLIGHT, method="OPTIONS", rules=rules)
        assert (reply.status, code(reply)) == (400, "ambiguous_request")


def test_a_rule_that_names_options_holds_for_preflights(asgi, wsgi):
    rules = [Rule("OPTIONS", "/a", ["a:read"]), Rule("POST", "/a", open=True)]
    for face in (asgi, wsgi):
        assert ask(face, "/a", PREFLIGHT, method="OPTIONS", rules=rules)[0].status == 401
        reply, _ = ask(face, "/A", PREFLIGHT, method="OPTIONS", rules=rules)
        assert reply.status == 400


@pytest.mark.parametrize(
    "headers",
    [
        PREFLIGHT[:1],
        PREFLIGHT[1:],
        [PREFLIGHT[0], (b"access-control-request-method", b"post")],
        [PREFLIGHT[0], (b"access-control-request-method", b"GET")],
        [PREFLIGHT[0], (b"access-control-request-method", b"WEBSOCKET")],
        [*PREFLIGHT, (b"access-control-request-method", b"GET")],
    ],
)
def test_what_is_no_preflight_of_a_rule_is_an_options_request(asgi, wsgi, headers):
    rules = [Rule("POST", "/a", ["a:read"])]
    for face in (asgi, wsgi):
        reply, _ = ask(face, "/a", headers, method="OPTIONS", rules=rules)
        assert (reply.status, code(reply)) == (403, "no_rule")


def code(reply):
    return json.loads(reply.body)["code"]


BOTH = [(AsgiMiddleware, AsyncKeyService), (WsgiMiddleware, KeyService)]


@pytest.mark.parametrize(("middleware", "service"), BOTH)
def test_rules_are_checked_when_the_middleware_is_made(middleware, service):
    catalog = ScopeCatalog({"endpoint": ("read",)})
    keys = service("sqlite://", catalog=catalog)
    middleware(None, keys, rules=[Rule("GET", "/a", ["endpoint:read"])])
    middleware(None, keys, rules=())
    with pytest.raises(InvalidInput, match=r"rule 1 \(GET /a\): 'run:read' is not in the catalog"):
        middleware(None, keys, rules=[Rule("GET", "/a", ["run:read"])])
    with pytest.raises(InvalidInput, match="rules: the list is empty"):
        middleware(None, keys, rules=[])
    for wrong in ("rules.toml", 5, None, [None], Rule("GET", "/a")):
        with pytest.raises(TypeError, match="rules: give "):
            middleware(None, keys, rules=wrong)
    with pytest.raises(InvalidInput, match="can never be reached"):
        middleware(None, keys, rules=[Rule("GET", "/a"), Rule("GET", "/a")])
