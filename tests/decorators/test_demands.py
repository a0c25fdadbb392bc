"""What may be demanded, of what, and what the demands mean."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from decorators.asking import KIND, MISSING, PROJECT, check_problem
from decorators.fastapi_views import Item
from decorators.guards import KINDS, guard, of_project, who
from keymw import KeyKind, require_scopes
from keymw.errors import InvalidInput

BAD_DEMANDS = [
    (("endpoint",), {}),
    (("endpoint:admin",), {}),
    (("Endpoint:read",), {}),
    (("endpoint:read ",), {}),
    (("endpoint:read,flag:read",), {}),
    (("",), {}),
    (("*",), {}),
    (("endpoint:read", "*"), {}),
    ((None,), {}),
    ((5,), {}),
    ((["endpoint:read"],), {}),
    (("endpoint:read",), {"kinds": ["robot"]}),
    (("endpoint:read",), {"kinds": "robot"}),
    (("endpoint:read",), {"kinds": [None]}),
    (("endpoint:read",), {"kinds": ["PERSONAL"]}),
    (("endpoint:read",), {"kinds": []}),
    (("endpoint:read",), {"kinds": ()}),
    (("endpoint:read",), {"kinds": ""}),
    (("endpoint:read",), {"project": ""}),
    (("endpoint:read",), {"project": 2}),
]


@pytest.mark.parametrize(("scopes", "options"), BAD_DEMANDS)
def test_a_malformed_demand_fails_when_the_module_is_imported(scopes, options):
    with pytest.raises((InvalidInput, TypeError)) as caught:
        require_scopes(*scopes, **options)
    assert str(caught.value)


@pytest.mark.parametrize("kinds", [None, 5])
def test_kinds_that_are_no_kinds_at_all(kinds):
    with pytest.raises(InvalidInput, match="list of kinds"):
        require_scopes("endpoint:read", kinds=kinds)


@pytest.mark.parametrize("scope", ["endpoint:admin", "*"])
def test_the_message_names_what_is_wrong(scope):
    with pytest.raises(ValueError, match="scope") as caught:
        require_scopes(scope)
    assert repr(scope) in str(caught.value)


def test_missing_parentheses():
    with pytest.raises(TypeError, match="require_scopes"):

        @require_scopes
        async def view(request):
            raise AssertionError("reached")

    with pytest.raises(TypeError, match="require_scopes"):

        @require_scopes
        class _Endpoint(HTTPEndpoint):
            pass


@pytest.mark.parametrize("thing", [5, None, "view", object(), [], Item, dict, KeyKind])
def test_what_is_no_view_is_not_decorated(thing):
    with pytest.raises(TypeError):
        guard(thing)


@pytest.mark.parametrize("kinds", ["personal", KeyKind.PERSONAL, ["personal"], {"personal"}])
def test_a_kind_may_be_given_by_itself(ask, wrap, machine, person, kinds):
    @require_scopes("endpoint:read", kinds=kinds)
    async def view(request):
        return PlainTextResponse(who())

    app = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(app, "/", person).status == 200
    check_problem(ask(app, "/", machine), *KIND)


def test_no_scopes_takes_any_key_of_the_kinds(ask, wrap, keys, machine):
    empty = keys.issue_personal_key("ann", "empty", ["other:read"]).token

    @require_scopes()
    async def view(request):
        return PlainTextResponse(who())

    app = wrap(Starlette(routes=[Route("/", view)]))
    assert ask(app, "/", empty).body == b"ann"
    check_problem(ask(app, "/", machine), *KIND)
    check_problem(ask(app, "/"), *MISSING)


def test_all_of_the_scopes_are_asked(ask, wrap, keys):
    @require_scopes("a:read", "b:read", "b:write", kinds=KINDS)
    async def view(request):
        return PlainTextResponse("in")

    app = wrap(Starlette(routes=[Route("/", view)]))
    for number, (scopes, missing) in enumerate(
        [
            (["a:read"], "b:read"),
            (["b:write"], "a:read"),
            (["a:read", "b:read"], "b:write"),
            (["a:write", "b:read"], "b:write"),
            (["a:read", "b:write"], None),
            (["a:write", "b:write", "c:read"], None),
        ]
    ):
        token = keys.issue_project_key("2", f"key {number}", scopes).token
        answer = ask(app, "/", token)
        if missing is None:
            assert answer.body == b"in"
            continue
        assert answer.status == 403
        assert answer.problem["detail"] == f"API key missing required scope '{missing}'."
        challenge = answer.headers["www-authenticate"]
        assert challenge.endswith('error="insufficient_scope", scope="a:read b:read b:write"')


def test_a_route_without_the_project_it_asks_for_is_nobodys(ask, wrap, keys, machine):
    """Not even a personal key's, which is of no project: nothing is not the same as nothing."""

    @of_project
    async def view(request):
        raise AssertionError("reached")

    limited = keys.issue_personal_key("user-7", "limited", ["endpoint:read"], projects=["3"]).token
    app = wrap(Starlette(routes=[Route("/elsewhere", view)]))
    for _ in range(2):  # what is needed to judge quickly, the first request may only load
        for token in (limited, machine):
            check_problem(ask(app, "/elsewhere", token), *PROJECT)
