"""`Security(KeyAuth(...), scopes=[...])`: FastAPI's own way to say what a route demands."""

from __future__ import annotations

import logging
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from decorators.asking import KIND, MISSING, NARROW, PROJECT, check_problem, connect
from keymw import KeyKind, ServicePrincipal, UserPrincipal, require_scopes
from keymw.errors import InvalidInput, MiddlewareMissing
from keymw.integrations.fastapi import KeyAuth, document

anybody = KeyAuth(kinds=[KeyKind.PROJECT_SECRET, "personal"])
of_project = KeyAuth(kinds=["project_secret"], project="project_id")
people = KeyAuth()

Machine = Annotated[ServicePrincipal, Security(of_project, scopes=["endpoint:read"])]
Person = Annotated[UserPrincipal, Security(people, scopes=["endpoint:read"])]


def needs_flags(who: Annotated[object, Security(anybody, scopes=["flag:read"])]):
    return who


def routes():
    app = FastAPI()

    @app.get("/projects/{project_id}/x")
    async def project(who: Machine, project_id: str):
        return f"{who.label} of {project_id}"

    @app.get("/humans")
    def humans(who: Person):
        return who.user_id

    router = APIRouter(dependencies=[Security(anybody, scopes=["endpoint:read"])])

    @router.get("/in")
    async def inside():
        return "in"

    @router.get("/both", dependencies=[Security(people)])
    async def both():
        return "both"

    app.include_router(router, prefix="/router")

    @app.get("/nested")
    async def nested(who: Annotated[object, Security(needs_flags, scopes=["endpoint:read"])]):
        return who.display_name

    @app.websocket("/socket/{project_id}")
    async def socket(websocket: WebSocket, who: Machine):
        await websocket.accept()
        await websocket.send_text(who.label)
        await websocket.close()

    return app


@pytest.fixture
def app(wrap):
    return wrap(routes())


@pytest.mark.usefixtures("quiet")
def test_who_may_and_who_may_not(ask, app, machine, person, narrow):
    path = "/projects/2/x"
    assert ask(app, path, machine).body == b'"machine of 2"'
    check_problem(ask(app, path), *MISSING)
    check_problem(ask(app, path, narrow), *NARROW)
    check_problem(ask(app, "/projects/3/x", machine), *PROJECT)
    assert ask(app, path, person).problem["code"] == "kind_not_supported"
    assert ask(app, "/humans", person).body == b'"ann"'
    check_problem(ask(app, "/humans", machine), *KIND)


@pytest.mark.usefixtures("quiet")
def test_routers_and_their_dependencies(ask, app, machine, person):
    assert ask(app, "/router/in", machine).body == b'"in"'
    check_problem(ask(app, "/router/in"), *MISSING)
    assert ask(app, "/router/both", person).body == b'"both"'
    check_problem(ask(app, "/router/both", machine), *KIND)


@pytest.mark.usefixtures("quiet")
def test_scopes_of_dependencies_add_up(ask, app, keys, machine, narrow):
    both = keys.issue_project_key("2", "both", ["endpoint:read", "flag:read"]).token
    assert ask(app, "/nested", both).body == b'"both"'
    for token, missing in ((machine, "flag:read"), (narrow, "endpoint:read")):
        answer = ask(app, "/nested", token)
        assert answer.problem["detail"] == f"API key missing required scope '{missing}'."
        assert 'scope="endpoint:read flag:read"' in answer.headers["www-authenticate"]


def test_it_can_be_overridden(ask, wrap):
    app = routes()
    app.dependency_overrides[people] = lambda: UserPrincipal("k", "bob", "l", frozenset())
    assert ask(wrap(app), "/humans").body == b'"bob"'


def test_a_websocket(app, machine, narrow):
    assert connect(app, "/socket/2", machine) == "machine"
    for path, token in (("/socket/2", narrow), ("/socket/3", machine)):
        with pytest.raises(WebSocketDenialResponse) as refused:
            connect(app, path, token)
        assert refused.value.status_code == 403


def test_no_middleware(caplog):
    client = TestClient(routes(), raise_server_exceptions=False)
    with caplog.at_level(logging.ERROR, "keymw"):
        assert client.get("/humans").status_code == 500
    assert "KeyAuthMiddleware" in caplog.text
    with pytest.raises(MiddlewareMissing):
        TestClient(routes()).get("/humans")


@pytest.mark.parametrize("options", [{"kinds": ["robot"]}, {"kinds": []}, {"project": ""}])
def test_what_is_no_demand(options):
    with pytest.raises(InvalidInput):
        KeyAuth(**options)
    with pytest.raises(InvalidInput, match="scope"):
        people.demand(["endpoint"])


def test_the_decorator_is_no_dependency():
    app = FastAPI()
    with pytest.raises(TypeError, match=r"Security\(KeyAuth"):

        @app.get("/", dependencies=[Depends(require_scopes("endpoint:read"))])
        async def view():
            raise AssertionError("reached")


def test_the_document_says_what_is_demanded():
    app = routes()

    @app.get("/open")
    async def open_to_all():
        return ""

    @app.get("/decorated", responses={403: {"description": "My own."}})
    @require_scopes("endpoint:write")
    async def decorated():
        return ""

    document(app)
    document(app)
    shown = app.openapi()
    paths = {path: operations["get"] for path, operations in shown["paths"].items()}
    demands = {path: operation.get("security") for path, operation in paths.items()}
    machines, persons = "project_secret_key", "personal_key"
    either = "personal_or_project_secret_key"
    assert demands == {
        "/projects/{project_id}/x": [{machines: ["endpoint:read"]}],
        "/humans": [{persons: ["endpoint:read"]}],
        "/router/in": [{either: ["endpoint:read"]}],
        "/router/both": [{either: ["endpoint:read"], persons: []}],
        "/nested": [{either: ["endpoint:read", "flag:read"]}],
        "/open": None,
        "/decorated": [{persons: ["endpoint:write"]}],
    }
    for operation in paths.values():
        refusals = {"401", "403", "503"} & operation["responses"].keys()
        assert refusals == ({"401", "403", "503"} if "security" in operation else set())
    assert paths["/decorated"]["responses"]["403"]["description"] == "My own."
    assert "application/problem+json" in paths["/humans"]["responses"]["401"]["content"]
    assert set(shown["components"]["securitySchemes"]) == {machines, persons, either}
