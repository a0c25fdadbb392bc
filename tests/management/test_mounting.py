"""The app alone, inside of others, under a real server; and what it is not made from."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from conftest import eventually
from keymw import AsyncKeyService, KeyService, ScopeCatalog, require_scopes
from keymw.asgi import KeyAuthMiddleware
from keymw.management import create_app
from management.conftest import Person


def test_a_blocking_service_is_refused_with_advice(keys):
    with pytest.raises(TypeError, match="AsyncKeyService"):
        create_app(keys)


def test_a_catalog_has_to_say_who_may_manage_keys():
    for objects in ({"endpoint": ("read", "write")}, {"api_key": ("read",)}):
        with pytest.raises(ValueError, match="api_key"):
            create_app(AsyncKeyService("sqlite://", catalog=ScopeCatalog(objects)))
    catalog = ScopeCatalog({"api_key": ("read", "write")})
    create_app(AsyncKeyService("sqlite://", catalog=catalog))


@pytest.mark.parametrize("module", ["starlette", "pydantic", "cryptography"])
def test_what_it_needs_is_named_when_it_is_missing(module):
    code = f"import sys; sys.modules[{module!r}] = None; import keymw.management"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.endswith('pip install "keymw[management]"\n')
    assert module in done.stderr.splitlines()[-1]


async def test_the_realm_is_checked_and_used(akeys):
    with pytest.raises(ValueError, match="realm"):
        create_app(akeys, realm='a "realm"')
    answer = await Person(create_app(akeys, realm="offices")).ask("GET", "/users/me/keys", 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="offices"'


@require_scopes("endpoint:read", project="project_id", kinds=["project_secret"])
async def run(request):
    return JSONResponse({"run": request.path_params["project_id"]})


def around(keys, *, protected):
    """Return an app with the API in it, and with a route for machines, if it is protected."""
    routes = [Mount("/manage", create_app(keys))]
    routes += [Route("/run/{project_id}", run)] if protected else []
    middleware = [Middleware(KeyAuthMiddleware, keys)] if protected else []
    return Starlette(routes=routes, middleware=middleware)


@pytest.mark.parametrize("protected", [True, False])
async def test_mounted_it_is_the_same(akeys, protected):
    issued = await akeys.issue_personal_key("user-7", "desk", ["*"])
    app = around(akeys, protected=protected)
    person, stranger = Person(app, issued.token), Person(app)
    answer = await person.ask(
        "POST", "/manage/projects/2/keys", 201, json={"label": "ci", "scopes": ["endpoint:read"]}
    )
    where = answer.headers["location"]
    assert where.startswith("/manage/projects/2/keys/key_")
    assert answer.headers["vary"] == "Authorization"
    await person.get(where)
    await stranger.get(where, 401)
    await Person(app, answer.json()["token"]).get(where, 403)
    assert (await person.get("/manage/nothing", 404))["code"] == "not_found"
    document = await Person(app).get("/manage/openapi.json")
    assert document["servers"] == [{"url": "/manage"}]
    if protected:
        machine = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://api",
            headers={"Authorization": f"Bearer {answer.json()['token']}"},
        )
        assert (await machine.get("/run/2")).json() == {"run": "2"}
        await person.delete(where)
        assert (await machine.get("/run/2")).status_code == 401


@contextlib.contextmanager
def served(app):
    """Serve an app with uvicorn, on a free port; gives its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def test_under_a_real_server_with_redis(url, redis_url):
    with KeyService(url, redis=redis_url) as elsewhere:
        me = elsewhere.issue_personal_key("user-7", "desk", ["*"])
        app = create_app(AsyncKeyService(url, redis=redis_url))
        headers = {"Authorization": f"Bearer {me.token}"}
        with served(app) as base, httpx.Client(base_url=base, headers=headers) as person:
            made = person.post(
                "/projects/2/keys", json={"label": "ci", "scopes": ["endpoint:read"]}
            )
            assert made.status_code == 201
            key_id, token = made.json()["key"]["id"], made.json()["token"]
            path = f"/projects/2/keys/{key_id}"
            assert made.headers["location"] == path
            assert elsewhere.verify(token).principal.key_id == key_id
            rolled = person.post(f"{path}/roll")
            assert rolled.json()["propagation"] == {"acknowledged": True, "bound_seconds": 1.0}
            assert person.get(path).json()["version"] == 2
            assert person.head(path).content == b""
            assert person.patch(path, content=b"{" * 70_000).status_code == 413
            for strange in ("a%00b", "a%2Fb", "%FF", "x" * 10_000):
                assert person.get(f"/projects/2/keys/{strange}").status_code == 404
            assert person.delete(path).json()["propagation"]["acknowledged"] is True
            assert [each["action"] for each in person.get(f"{path}/history").json()["results"]] == [
                "revoked",
                "rolled",
                "issued",
            ]
            elsewhere.revoke(me.key.id, wait=False)

            def is_refused():
                return person.get("/users/me/keys").status_code == 401

            eventually(is_refused)
