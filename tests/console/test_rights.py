"""What the pages let people do; the rules themselves are the desk's."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from console.conftest import PROJECT, SECRET, Office, Visitor
from keymw.asgi import KeyAuthMiddleware
from keymw.console import create_app

FIELDS = {"label": "x", "scopes": "endpoint:read", "version": "1", "grace": "0"}


async def test_who_may_only_look_has_no_buttons_and_changes_nothing(office):
    boss = await office.person("user-8")
    _, key_id = await boss.create()
    person = await office.person(scopes=["api_key:read", "endpoint:write"])
    page = f"{PROJECT}/keys/{key_id}"
    for path in (PROJECT, page, f"{PROJECT}/history", f"{page}/history"):
        text = (await person.get(path)).text
        for word in ("/new", "/edit", "/roll", "/delete"):
            assert word not in text
    for path in (f"{PROJECT}/new", f"{page}/edit", f"{page}/roll", f"{page}/delete"):
        assert "api_key:write" in (await person.get(path, 403)).text
        assert "api_key:write" in (await person.send(path, 403, **FIELDS)).text
    await person.send(f"{page}/roll", 403, version="1", grace="wrong")
    (key,) = await office.keys.list(project_id="2")
    assert key.version == 1


async def test_nobody_hands_out_more_than_they_hold(office):
    person = await office.person(scopes=["api_key:write", "endpoint:read"])
    page = await person.send(f"{PROJECT}/new", 403, label="x", scopes="endpoint:write")
    assert 'id="scopes-error"' in page.text
    assert 'value="endpoint:write"' in page.text
    strong = await office.keys.issue_project_key("2", "strong", ["endpoint:write"])
    path = f"{PROJECT}/keys/{strong.key.id}"
    page = await person.send(f"{path}/roll", 403, version="1", grace="0")
    assert "does not hold the scope" in page.text


PATHS = ["", "/new", "/history", "/keys/{0}", "/keys/{0}/edit", "/keys/{0}/roll"]
PATHS += ["/keys/{0}/delete", "/keys/{0}/history"]


@pytest.mark.parametrize("path", PATHS)
async def test_other_projects_and_keys_are_not_there(akeys, path):
    office = Office(akeys, may_manage=lambda _, project_id: project_id in {"2", "3"})
    issued = await akeys.issue_project_key("9", "theirs", ["endpoint:read"])
    person = await office.person(projects=["2", "9"])
    shown = set()
    places = ["/projects/9", "/projects/3", "/projects/\uff12"]
    if "{0}" in path:
        places += [PROJECT, "/me"]
    for place in places:
        where = place + path.format(issued.key.id)
        answer = await person.get(where, 404)
        assert "theirs" not in answer.text
        shown.add(answer.text.partition("<main")[2])
        if path.endswith(("new", "edit", "roll", "delete")):
            await person.send(where, 404, **FIELDS)
    assert len(shown) == 1
    assert (await akeys.get(issued.key.id)).version == 1


@pytest.mark.parametrize("protected", [True, False])
async def test_mounted_all_addresses_are_below_the_mount(akeys, protected):
    middleware = [Middleware(KeyAuthMiddleware, akeys)] if protected else []
    console = create_app(akeys, secret=SECRET)
    app = Starlette(routes=[Mount("/keys", console)], middleware=middleware)
    issued = await akeys.issue_personal_key("user-7", "desk", ["*"])
    visitor = Visitor(app, issued.token)
    answer = await visitor.client.post("/keys/sign-in", data={"token": issued.token})
    assert "Path=/keys;" in answer.headers["set-cookie"]
    assert answer.headers["location"] == "/keys/me"
    page = (await visitor.get("/keys/projects/a%20b")).text
    assert 'href="/keys/static/console.css"' in page
    assert 'href="/keys/projects/a%20b/new"' in page
    assert 'action="/keys/sign-out"' in page
    assert (await visitor.get("/keys/", 303)).headers["location"] == "/keys/me"
    await visitor.get("/keys/nothing", 404)
