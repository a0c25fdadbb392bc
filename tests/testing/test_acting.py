"""Requests without credentials as somebody, through each framework's test client."""

from __future__ import annotations

import pytest

from keymw import InvalidInput, ScopeCatalog, asgi, wsgi
from keymw import testing as keymw_testing
from keymw.http import MISSING
from keymw.testing import acting_as, acting_as_user
from keymw.tokens import generate
from testing.apps import CLIENTS


@pytest.fixture(params=CLIENTS.values(), ids=CLIENTS)
def ask(request):
    with request.param() as ask:
        yield ask


def test_a_key_that_nobody_issued(ask):
    assert ask() == 401
    with acting_as(project="2", scopes=["item:read"]):
        assert ask() == 200
    with acting_as(project="2", scopes=["item:write"]):
        assert ask() == 200
    with acting_as(project="2", scopes=["other:read"]):
        assert ask() == 403
    with acting_as(project="3", scopes=["item:read"]):
        assert ask() == 403
    with acting_as_user("user-7", scopes=["*"]):
        assert ask() == 200
    with acting_as_user("user-7", scopes=["item:read"], projects=["3"]):
        assert ask() == 403
    assert ask() == 401


def test_a_token_is_judged_by_the_service(ask):
    with acting_as(project="2", scopes=["item:read"]):
        assert ask(Authorization=f"Bearer {generate('phs_')}") == 401
        assert ask(Authorization="Bearer") == 400
        # Another scheme is no key of ours, and none of the test's either.
        assert ask(Authorization="Basic eDp5") == 401
        assert ask() == 200


def verdicts():
    return asgi.KeyAuthMiddleware.without_key, wsgi.KeyAuthMiddleware.without_key


def test_the_innermost_counts():
    with acting_as("2", ["item:read"]) as outer:
        with acting_as_user("user-7", ["item:read"]) as inner:
            assert [verdict.principal for verdict in verdicts()] == [inner, inner]
        assert [verdict.principal for verdict in verdicts()] == [outer, outer]
    assert verdicts() == (MISSING, MISSING)


def test_blocks_may_end_in_any_order():
    first, second = acting_as("2", ["item:read"]), acting_as("2", ["item:read"])
    first.__enter__()
    principal = second.__enter__()
    first.__exit__(None, None, None)
    assert verdicts()[0].principal == principal
    second.__exit__(None, None, None)
    assert verdicts() == (MISSING, MISSING)


def fails_within(act):
    with act:
        raise LookupError


def test_it_ends_with_a_failure_too():
    with pytest.raises(LookupError):
        fails_within(acting_as("2", ["item:read"]))
    assert verdicts() == (MISSING, MISSING)


CATALOG = ScopeCatalog({"item": ("read", "write")}, project_secret=["item:read"])


@pytest.mark.parametrize(
    ("act", "field"),
    [
        (lambda: acting_as("2", ["item:delete"]), "scopes"),
        (lambda: acting_as("2", "item:read"), "scopes"),
        (lambda: acting_as("2", ["*"]), "scopes"),
        (lambda: acting_as("2", []), "scopes"),
        (lambda: acting_as("2", ["item:write"], catalog=CATALOG), "scopes"),
        (lambda: acting_as("\uff12", ["item:read"]), "project_id"),
        (lambda: acting_as("2", ["item:read"], label=""), "label"),
        (lambda: acting_as_user("", ["item:read"]), "user_id"),
        (lambda: acting_as_user("user-7", ["other:read"], catalog=CATALOG), "scopes"),
        (lambda: acting_as_user("user-7", ["item:read"], projects="2"), "projects"),
    ],
)
def test_what_could_not_be_issued(act, field):
    with pytest.raises(InvalidInput) as caught:
        fails_within(act())
    assert caught.value.field == field
    assert verdicts() == (MISSING, MISSING)


def test_what_is_public_is_there():
    assert sorted(keymw_testing.__all__) == sorted(
        name for name in vars(keymw_testing) if name in keymw_testing.__all__
    )
