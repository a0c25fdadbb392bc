"""`KeyAuth` in FastAPI: mistakes shown at once, dependencies, and what goes on later."""

from __future__ import annotations

import json
import logging
from functools import partial

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Security
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel

from decorators.asking import KIND, MISSING, PROJECT, check_problem
from decorators.guards import KINDS, guard, who
from keymw.asgi import KeyAuthMiddleware
from keymw.integrations.fastapi import KeyAuth, document

anybody = KeyAuth(kinds=KINDS)
people = KeyAuth()
of_project = KeyAuth(kinds=KINDS, project="project_id")
reads = Security(anybody, scopes=["endpoint:read"])


class Item(BaseModel):
    owner: str


class Ours(KeyAuth):
    """A class of one's own."""


def declare(dependency, place):
    """Declare a route that depends on something, in one of the places for that."""
    given = {name: [dependency] if name == place else [] for name in ("route", "router", "app")}
    app = FastAPI(dependencies=given["app"])
    router = APIRouter(dependencies=given["router"])

    async def view(found=dependency if place == "parameter" else None):
        raise AssertionError("reached")

    router.get("/", dependencies=given["route"])(view)
    app.include_router(router)
    app.get("/", dependencies=given["route"])(view)
    TestClient(app).get("/")  # an included router is only now looked at


@pytest.mark.parametrize(
    "dependency",
    [
        Security(KeyAuth, scopes=["endpoint:read"]),
        Depends(KeyAuth),
        Depends(Ours),
        Depends(partial(KeyAuth, kinds=KINDS)),
    ],
)
@pytest.mark.parametrize("place", ["route", "router", "app", "parameter"])
def test_the_class_is_no_dependency(dependency, place):
    """FastAPI would make one for each request, and call none of them."""
    with pytest.raises(TypeError, match="is no dependency: make one of it"):
        declare(dependency, place)


@pytest.mark.usefixtures("quiet")
def test_an_object_of_a_class_of_ones_own_is_one(ask, service, tokens):
    app = FastAPI(dependencies=[Security(Ours(kinds=KINDS), scopes=["endpoint:read"])])
    app.get("/")(who)
    wrapped = KeyAuthMiddleware(app, service)
    assert ask(wrapped, "/", tokens.machine).body == b'"machine"'
    check_problem(ask(wrapped, "/"), *MISSING)


@pytest.mark.usefixtures("quiet")
def test_a_refusal_comes_before_validation_and_what_stands_behind_it(ask, service, tokens):
    app, ran = FastAPI(), []

    @app.post("/{number}", dependencies=[Security(people, scopes=["endpoint:read"])])
    async def view(number: int, item: Item, after=Depends(lambda: ran.append(1))):  # noqa: B008
        raise AssertionError("reached")

    wrapped = KeyAuthMiddleware(app, service)
    for path, body in (("/1", {"owner": "x"}), ("/1", {"owner": 1}), ("/x", {})):
        check_problem(ask(wrapped, path, method="POST", json=body), *MISSING)
        check_problem(ask(wrapped, path, tokens.machine, method="POST", json=body), *KIND)
    assert ran == []
    assert ask(wrapped, "/x", tokens.person, method="POST", json={}).status == 422


@pytest.mark.usefixtures("quiet")
def test_routers_in_routers_and_mounted_apps_find_the_project(ask, service, tokens):
    inner = APIRouter()
    inner.get("/in")(who)
    outer = APIRouter(prefix="/{project_id}", dependencies=[Security(of_project)])
    outer.include_router(inner, prefix="/deep", dependencies=[reads])
    mounted = FastAPI(dependencies=[Security(of_project, scopes=["endpoint:read"])])
    mounted.get("/in")(who)
    app = FastAPI()
    app.include_router(outer, prefix="/projects")
    app.mount("/mounted/{project_id}", mounted)
    wrapped = KeyAuthMiddleware(app, service)
    for path in ("/projects/{}/deep/in", "/mounted/{}/in"):
        assert ask(wrapped, path.format("2"), tokens.machine).body == b'"machine"'
        for other in ("3", "02", "%EF%BC%92"):
            check_problem(ask(wrapped, path.format(other), tokens.machine), *PROJECT)
        check_problem(ask(wrapped, path.format("2")), *MISSING)


def lines():
    for _ in range(3):
        yield who() + "\n"


async def lines_async():
    for line in lines():
        yield line


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("make", [lines, lines_async])
def test_who_it_is_is_known_in_streams_and_gone_after_them(ask, service, tokens, make):
    app = FastAPI()
    app.get("/", dependencies=[reads])(lambda: StreamingResponse(make()))
    app.get("/open")(who)
    wrapped = KeyAuthMiddleware(app, service)
    for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
        assert ask(wrapped, "/", token).body.decode() == f"{name}\n" * 3
        assert ask(wrapped, "/open").body == b'""'


@pytest.mark.usefixtures("quiet")
def test_who_it_is_is_known_where_dependencies_end_and_in_background_tasks(ask, service, tokens):
    app, later = FastAPI(), {}

    def note(event):
        later[event] = who()

    async def note_async(event):
        note(event)

    def session():
        yield
        note("session")

    async def session_async():
        yield
        note("session, async")

    @app.get("/", dependencies=[reads, Depends(session), Depends(session_async)])
    async def view(tasks: BackgroundTasks):
        tasks.add_task(note, "task")
        tasks.add_task(note_async, "task, async")
        return who()

    wrapped = KeyAuthMiddleware(app, service)
    events = ("session", "session, async", "task", "task, async")
    for token, name in ((tokens.machine, "machine"), (tokens.person, "user-7")):
        later.clear()
        assert ask(wrapped, "/", token).body.decode() == json.dumps(name)
        assert later == dict.fromkeys(events, name)


@pytest.mark.usefixtures("quiet")
def test_a_handler_restyles_what_the_dependency_refuses(ask, service):
    async def restyle(request, error):
        return JSONResponse({"oops": error.detail}, error.status_code, error.headers)

    app = FastAPI(exception_handlers={HTTPException: restyle}, dependencies=[reads])
    app.get("/")(who)
    answer = ask(KeyAuthMiddleware(app, service), "/")
    assert (answer.status, json.loads(answer.body)) == (401, {"oops": MISSING[2]})
    assert answer.headers["www-authenticate"] == 'Bearer realm="keymw"'
    assert answer.headers["vary"] == "Authorization"


def test_the_log_names_the_view_and_nothing_that_was_sent(caplog):
    app = FastAPI()

    @app.get("/{anything}", dependencies=[reads])
    async def guarded_view(anything: str):
        raise AssertionError("reached")

    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/x%0AERROR forged").status_code == 500
    (entry,) = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
    assert "guarded_view" in entry.getMessage()
    assert "forged" not in entry.getMessage()


def test_an_app_may_have_schemes_of_its_own():
    from fastapi.security import APIKeyHeader

    app = FastAPI()

    @app.get("/", dependencies=[reads, Security(people), Depends(APIKeyHeader(name="X-Other"))])
    @guard
    async def view():
        raise AssertionError("reached")

    document(app)
    for _ in range(2):  # made once, kept by the app
        found = app.openapi()["paths"]["/"]["get"]["security"]
        ours = {"personal_or_project_secret_key": ["endpoint:read"], "personal_key": []}
        assert sorted(found, key=len) == [{"APIKeyHeader": []}, ours]
