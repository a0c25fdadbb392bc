"""Whatever a router makes of a path: what is guarded by a rule is not served without its demand."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.routing import compile_path
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect
from werkzeug.routing import Rule as WerkzeugRule

from keymw import AsyncKeyService, KeyService, ServicePrincipal
from keymw.asgi import KeyAuthMiddleware as AsgiMiddleware
from keymw.model import Granted
from keymw.rules import Rule, Rules
from keymw.rules.reading import read
from keymw.rules.templates import parse
from keymw.wsgi import KeyAuthMiddleware as WsgiMiddleware
from rules.routers import ASGI, HABITS, ROUTES, WSGI, ask_asgi, ask_wsgi, in_werkzeugs, sloppy

#: Rules for every route; those that are not open want a key, which nobody sends.
OPEN = ("/", "/health", "/items/{name}")
GUARDS = [
    Rule("*", route, open=True) if route in OPEN else Rule("*", route, ["endpoint:read"])
    for route in ROUTES
]
RULES = {
    "deny": Rules(GUARDS, "deny"),
    "open": Rules(GUARDS, "open"),
    "open, and a rule for the rest": Rules([*GUARDS, Rule("*", "/{rest:path}", open=True)], "deny"),
    "open, and only the guarded": Rules([rule for rule in GUARDS if rule.demand], "open"),
}
PIECES = st.sampled_from(
    [
        *("/", "/", "/", "//", "admin", "ADMIN", "health", "items", "Items", "wiki", "files"),
        *("projects", "2", "02", "runs", "x", "x.y", "-5", "5.0", "1e3", "%D9%A2", "\u0662"),
        *(".", "..", "%2e", "%2E%2e", "%2f", "%2F", "%5c", "\\", ";", ";a=b", "%3B", "%00", "%0a"),
        *("%25", "%252f", "%3f", "%23", "%20", " ", "%09", "%ff", "%c0%af", "%C3%A9", "e%CC%81"),
        *("%61dmin", "\uff41dmin", "\uff0f", "\uff0e\uff0e", "\u2025", "k", "\u212a", "\u017f"),
    ]
)
PATHS = st.one_of(
    st.lists(PIECES, max_size=8).map(lambda pieces: "/" + "".join(pieces)),
    st.tuples(
        st.sampled_from([re.sub(r"\{.*?\}", "5", route) for route in ROUTES]),
        st.integers(0, 30),
        PIECES,
        st.booleans(),
    ).map(lambda parts: mutated(*parts)),
)
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def mutated(path, place, piece, replaces):
    """Return a path with something put into it, or in place of one of its characters."""
    place %= len(path) + 1
    return path[:place] + piece + path[place + replaces :]


def examples(test):
    for path in (
        *("/admin/", "/ADMIN", "//admin", "/./admin", "/x/../admin", "/x/%2e%2e/admin"),
        *("/%61dmin", "/admin%2f", "/admin%00", "/admin;x", "/admin%3bx", "/\\admin", "/%5cadmin"),
        *("/items/%D9%A2", "/items/05", "/items/5/", "/items/-5", "/items/5%0a", "/wiki"),
        *("/files", "/files/", "/files//", "/files/../admin", "/health/", "/admin%3f", "/admin%20"),
        *("/projects/2/runs/", "/projects//runs", "/projects/2%2fruns", "admin", "/%2561dmin"),
    ):
        test = example(path)(test)
    return test


class WithKey:
    """A face to which everybody has the key of project 2, without a scope."""

    principal = ServicePrincipal("key_1", "2", "machine", frozenset())
    without_key = Granted(principal)


class AsgiWithKey(WithKey, AsgiMiddleware):
    pass


class WsgiWithKey(WithKey, WsgiMiddleware):
    pass


def check(visits, path):
    """Nobody has had a key, so only what is open may have been served."""
    for visit in visits:
        assert visit.route in OPEN, f"{path!r} has come to {visit}"
    visits.clear()


@pytest.fixture(scope="module")
def services():
    return AsyncKeyService("sqlite://"), KeyService("sqlite://")


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("framework", ASGI)
def test_no_path_comes_past_a_rule_under_asgi(services, framework, rules):
    visits = []
    app = AsgiMiddleware(ASGI[framework](visits), services[0], rules=RULES[rules])

    @examples
    @few
    @given(PATHS)
    def attack(path):
        for root in ("", "/root"):
            ask_asgi(app, path, root)
            check(visits, path)

    attack()
    assert ask_asgi(app, "/health") == 200
    assert visits[-1].route == "/health"


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("framework", WSGI)
def test_no_path_comes_past_a_rule_under_wsgi(services, framework, rules):
    visits = []
    app = WsgiMiddleware(WSGI[framework](visits), services[1], rules=RULES[rules])

    @examples
    @few
    @given(PATHS)
    def attack(path):
        for tells_raw in (True, False):
            ask_wsgi(app, path, tells_raw=tells_raw)
            check(visits, path)

    attack()
    assert ask_wsgi(app, "/health") == 200
    assert visits[-1].route == "/health"


@pytest.mark.parametrize("rules", RULES)
def test_no_habit_of_a_router_opens_a_way_past_a_rule(services, rules):
    visits = []

    @settings(max_examples=600, deadline=None)
    @given(PATHS, st.lists(st.sampled_from(list(HABITS)), max_size=5))
    def attack(path, habits):
        app = WsgiMiddleware(sloppy(visits, habits), services[1], rules=RULES[rules])
        ask_wsgi(app, path, tells_raw=False)
        check(visits, f"{path} {habits}")

    attack()


@pytest.mark.parametrize("framework", [*(("asgi", f) for f in ASGI), *(("wsgi", f) for f in WSGI)])
def test_a_key_reaches_only_its_project(services, framework):
    """What the rule takes for the project is what the app does."""
    face, name = framework
    visits = []
    rules = [
        Rule("*", "/projects/{project_id}/runs", (), ["project_secret"], "project_id"),
        Rule("*", "/items/{number:int}", (), ["project_secret"], "number"),
    ]
    if face == "asgi":
        app = AsgiWithKey(ASGI[name](visits), services[0], rules=rules)
    else:
        app = WsgiWithKey(WSGI[name](visits), services[1], rules=rules)

    @few
    @given(PIECES, PIECES, st.sampled_from(["/projects/{}/runs", "/items/{}", "{}/items/2"]))
    def attack(one, other, form):
        for value in (one, other, one + other, "2" + one, one + "2"):
            (ask_asgi if face == "asgi" else ask_wsgi)(app, form.format(value))
        for found in visits:
            assert "2" in found.parameters.values()
        visits.clear()

    attack()
    (ask_asgi if face == "asgi" else ask_wsgi)(app, "/projects/2/runs")
    assert visits[-1].parameters == {"project_id": "2"}


@few
@given(PATHS, st.sampled_from([*ROUTES, "/items/{a}/{b:int}", "/{a}", "/{a:path}"]))
def test_templates_are_starlettes_and_werkzeugs_where_a_path_is_plain(path, template):
    """One compiler, because those two differ from each other; not where it would matter.

    Starlette's takes an empty `{name:path}`, which Werkzeug's does not; Werkzeug's `int` takes the
    digits of all scripts. What is refused as ambiguous is not asked here.
    """
    connection = {"type": "http", "method": "GET", "path": path, "headers": []}
    reading = read(connection)
    if reading is None:
        return
    ours = re.fullmatch(parse(template).exact, reading.path) is not None
    regex, _, _ = compile_path(template)
    assert (regex.match(reading.path) is not None) is ours
    is_empty_rest = template.endswith(":path}") and reading.path.endswith("/")
    if is_empty_rest or not reading.path.isascii():
        return
    routes = Map([WerkzeugRule(in_werkzeugs(template), endpoint="x")])
    try:
        routes.bind("localhost").match(reading.path)
    except (RequestRedirect, HTTPException):
        assert not ours
    else:
        assert ours
