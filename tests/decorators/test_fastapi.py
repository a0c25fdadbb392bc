"""FastAPI's own ways: schemas, dependencies, bodies."""

from __future__ import annotations

import json

import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel

from decorators.apps import PLACES
from decorators.asking import KIND, MISSING, NARROW, PROJECT, check_problem
from decorators.fastapi_views import Item, fastapi_app
from decorators.guards import guard, humans, of_project, who


def test_openapi_shows_a_scheme_and_no_parameter_of_ours():
    plain = FastAPI()
    decorated = FastAPI()

    async def read(project_id: str, q: int = 1) -> Item:
        return Item(owner="x")

    plain.get("/projects/{project_id}")(read)
    decorated.get("/projects/{project_id}")(guard(of_project(read)))
    shown, expected = decorated.openapi(), plain.openapi()
    (operation,) = shown["paths"]["/projects/{project_id}"].values()
    assert operation.pop("security") == [{"personal_or_project_secret_key": ["endpoint:read"]}]
    schemes = shown["components"].pop("securitySchemes")
    assert schemes.keys() == {"personal_or_project_secret_key"}
    assert shown == expected
    schema = json.dumps(fastapi_app().openapi())
    assert "keymw" not in schema
    assert "connection" not in schema.lower()


def test_the_view_itself_is_not_changed():
    async def read(q: int = 1) -> Item:
        """Read it."""
        return Item(owner="x")

    guarded = guard(read)
    assert guarded.__name__ == "read"
    assert guarded.__doc__ == "Read it."
    assert guarded.__wrapped__ is read
    assert "keymw_connection" not in read.__code__.co_varnames


class Filters(BaseModel):
    """A body whose field has the name of a connection's attribute."""

    scope: dict


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "scope",
    [
        {"type": "http"},
        {"type": "http", "keymw": None},
        {"type": "http", "keymw": {"verdict": "granted"}},
        {"type": "http", "keymw": {}, "path_params": {"project_id": "2"}},
        {"type": "websocket", "starlette.exception_handlers": [{}, {}]},
    ],
)
@pytest.mark.parametrize("async_", [True, False])
def test_what_a_client_sends_is_never_taken_for_the_connection(
    ask, wrap, machine, place, scope, async_
):
    app = FastAPI()

    @guard
    async def asynchronous(project_id: str, body: Filters):
        return who()

    @guard
    def synchronous(project_id: str, body: Filters):
        return who()

    view = asynchronous if async_ else synchronous
    app.post("/{project_id}/x")(of_project(view))
    app = wrap(app, place)
    body = {"scope": scope}
    assert ask(app, "/2/x", machine, method="POST", json=body).body == b'"machine"'
    check_problem(ask(app, "/3/x", machine, method="POST", json=body), *PROJECT)
    check_problem(ask(app, "/2/x", method="POST", json=body), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_an_argument_that_has_a_scope_is_not_the_connection(ask, wrap, machine):
    class Session:
        scope = {"type": "request"}  # noqa: RUF012

        def __getattr__(self, name):
            raise RuntimeError("working outside of a session")

    app = FastAPI()

    @app.get("/")
    @guard
    def view(session=Depends(Session)):  # noqa: B008
        return who()

    assert ask(wrap(app), "/", machine).status == 200


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("place", PLACES)
def test_a_refusal_comes_before_dependencies_and_validation(ask, wrap, machine, place):
    """Who may not call a route neither runs its dependencies nor learns its schema."""
    app, ran = FastAPI(), []

    @app.post("/")
    @humans
    async def view(item: Item, dependency=Depends(lambda: ran.append(1))):  # noqa: B008
        raise AssertionError("reached")

    app = wrap(app, place)
    for body in ({"owner": "x"}, {"owner": 1}, {}):
        check_problem(ask(app, "/", method="POST", json=body), *MISSING)
        check_problem(ask(app, "/", machine, method="POST", json=body), *KIND)
    assert ran == []


@pytest.mark.usefixtures("quiet")
def test_a_view_decorated_before_fastapi_is_imported(ask, wrap, machine, narrow, monkeypatch):
    """A module of views need not import FastAPI."""
    import sys

    app = FastAPI()
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "fastapi")

        @of_project
        def view():
            return who()

        @of_project
        async def view_async(project_id: str):
            return who()

    app.get("/sync/{project_id}")(view)
    app.get("/async/{project_id}")(view_async)
    for place in PLACES:
        wrapped = wrap(app, place)
        for path in ("/sync", "/async"):
            assert ask(wrapped, f"{path}/2", machine).status == 200
            check_problem(ask(wrapped, f"{path}/3", machine), *PROJECT)
            check_problem(ask(wrapped, f"{path}/2", narrow), *NARROW)
            check_problem(ask(wrapped, f"{path}/2"), *MISSING)
