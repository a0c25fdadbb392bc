"""A demand that cannot be met is found when an app starts, whatever starts it."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from keymw import AsyncKeyService, KeyService, ScopeCatalog, require_scopes
from keymw import asgi as asgi_face
from keymw import wsgi as wsgi_face
from keymw.errors import UnmeetableDemand
from keymw.integrations.fastapi import KeyAuth

CATALOG = ScopeCatalog({"report": ("read", "write")}, project_secret=("report:read",))
MISSING = "it demands project='project_id', but its path has project: name the parameter"
UNKNOWN = "it demands 'raport:read', which the service's ScopeCatalog does not have"
BARRED = "'report:write' and takes project secret keys only, which may not hold it"
#: Demand and what is wrong with it, at `/projects/{project}/report`.
FAULTS = {
    "no such parameter": (require_scopes("report:read", project="project_id"), MISSING),
    "no such scope": (require_scopes("raport:read", project="project"), UNKNOWN),
    "no machine may hold it": (require_scopes("report:write", kinds=["project_secret"]), BARRED),
}
GOOD = require_scopes("report:read", kinds=["project_secret"], project="project")


@pytest.fixture
def service(sqlite_url):
    """An ASGI service that nobody has migrated: it is not needed to find a fault."""
    return AsyncKeyService(sqlite_url, catalog=CATALOG)


@pytest.fixture
def blocking(sqlite_url):
    with KeyService(sqlite_url, catalog=CATALOG) as service:
        yield service


def starlette(demand, **options):
    async def view(request):
        return JSONResponse({"path": request.url.path})

    return Starlette(routes=[Route("/projects/{project}/report", demand(view))], **options)


def flask(demand):
    app = Flask(__name__)

    @app.get("/projects/<project>/report")
    @demand
    def view(project):
        return {"project": project}

    return app


def ask_flask(app):
    return app.test_client().get("/projects/2/report")


@pytest.mark.parametrize(("demand", "problem"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("around", ["wrapped", "listed"])
def test_the_lifespan_fails(service, demand, problem, around):
    listed = [Middleware(asgi_face.KeyAuthMiddleware, keys=service)] if around == "listed" else []
    app = starlette(demand, middleware=listed)
    if around == "wrapped":
        app = asgi_face.KeyAuthMiddleware(app, service)
    with pytest.raises(UnmeetableDemand) as caught, TestClient(app):
        raise AssertionError("started")
    assert "GET /projects/{project}/report" in str(caught.value)
    assert problem in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(("demand", "problem"), FAULTS.values(), ids=FAULTS)
def test_no_request_is_served_without_lifespan(service, demand, problem):
    client = TestClient(asgi_face.KeyAuthMiddleware(starlette(demand), service))
    for path in ("/projects/2/report", "/projects/2/report", "/elsewhere"):
        with pytest.raises(UnmeetableDemand) as caught:
            client.get(path)
        assert problem in str(caught.value)


def test_what_can_be_met_starts(service):
    app = asgi_face.KeyAuthMiddleware(starlette(GOOD), service)
    assert TestClient(app).get("/projects/2/report").status_code == 401


def test_a_parameter_may_be_that_of_an_outer_mount(service):
    inner = Starlette(routes=[Route("/report", GOOD(lambda _: JSONResponse({})))])
    mounted = Mount("/projects/{project}", asgi_face.KeyAuthMiddleware(inner, service))
    client = TestClient(Starlette(routes=[mounted]))
    assert client.get("/projects/2/report").status_code == 401


@pytest.mark.parametrize(("demand", "problem"), FAULTS.values(), ids=FAULTS)
def test_the_wsgi_face_is_not_made(blocking, demand, problem):
    app = flask(demand)
    with pytest.raises(UnmeetableDemand) as caught:
        app.wsgi_app = wsgi_face.KeyAuthMiddleware(app.wsgi_app, blocking)
    assert problem in str(caught.value)
    assert "GET /projects/{project}/report" in str(caught.value)


@pytest.mark.parametrize(("demand", "problem"), FAULTS.values(), ids=FAULTS)
def test_routes_that_come_later_are_found_at_the_first_request(blocking, demand, problem):
    app = Flask(__name__)
    app.testing = True
    app.wsgi_app = wsgi_face.KeyAuthMiddleware(app.wsgi_app, blocking)
    app.add_url_rule("/projects/<project>/report", view_func=demand(lambda project: project))
    for _ in range(2):
        with pytest.raises(UnmeetableDemand) as caught:
            ask_flask(app)
        assert problem in str(caught.value)


def test_a_wsgi_app_that_can_be_met_is_served(blocking):
    app = flask(GOOD)
    app.wsgi_app = wsgi_face.KeyAuthMiddleware(app.wsgi_app, blocking)
    assert ask_flask(app).status_code == 401


def test_every_fault_is_named_at_once(blocking):
    app = Flask(__name__)
    for number, (demand, _) in enumerate(FAULTS.values()):
        view = demand(lambda project: project)
        app.add_url_rule(f"/{number}/<project>", f"view_{number}", view)
    with pytest.raises(UnmeetableDemand) as caught:
        wsgi_face.KeyAuthMiddleware(app, blocking)
    assert len(caught.value.problems) == 3
    assert "add it to project_secret of the ScopeCatalog" in caught.value.problems[2]


def test_without_a_catalog_any_scope_may_be_demanded(sqlite_url):
    with KeyService(sqlite_url) as keys:
        wsgi_face.KeyAuthMiddleware(flask(FAULTS["no such scope"][0]), keys)


def test_apps_that_cannot_be_listed_start(blocking, service):
    demand = FAULTS["no such parameter"][0]
    wsgi_face.KeyAuthMiddleware(demand(lambda environ, start_response: []), blocking)

    async def app(scope, receive, send):
        await starlette(GOOD)(scope, receive, send)

    for found in (app, demand(app)):
        face = asgi_face.KeyAuthMiddleware(found, service)
        assert TestClient(face).get("/projects/2/report").status_code == 401


def test_an_app_that_breaks_its_framework_is_left_alone(blocking, caplog):
    class Odd(Flask):
        url_map = None

    caplog.set_level(logging.DEBUG, "keymw")
    odd = Odd.__new__(Odd)
    wsgi_face.KeyAuthMiddleware(odd, blocking)
    assert "cannot be checked" in caplog.text


async def test_a_services_own_failure_is_told_after_the_check(service):
    """What people have to mend first is the code; the database may be on its way."""
    app = asgi_face.KeyAuthMiddleware(starlette(FAULTS["no such scope"][0]), service)
    said = []

    async def receive():
        return {"type": "lifespan.startup"}

    async def send(message):
        said.append(message)

    with pytest.raises(UnmeetableDemand):
        await app({"type": "lifespan"}, receive, send)
    (failed,) = said
    assert failed["type"] == "lifespan.startup.failed"
    assert UNKNOWN in failed["message"]


# ---- FastAPI's documents ------------------------------------------------------------------------


def fastapi(mounted=None):
    app = FastAPI()

    @app.get("/report", dependencies=[])
    @require_scopes("report:read")
    async def view():
        raise AssertionError("reached")

    if mounted is not None:
        app.mount("/inner", mounted)
    return app


def refusals(app):
    return {"401", "403", "503"} & app.openapi()["paths"]["/report"]["get"]["responses"].keys()


ALL = {"401", "403", "503"}


@pytest.mark.parametrize("around", ["wrapped", "listed"])
@pytest.mark.parametrize("started", ["lifespan", "request"])
def test_documents_name_the_refusals_once_the_app_has_started(keys, service, around, started):
    inner = fastapi()
    app = served = fastapi(inner)
    if around == "wrapped":
        served = asgi_face.KeyAuthMiddleware(app, service)
    else:
        app.add_middleware(asgi_face.KeyAuthMiddleware, keys=service)
    if started == "lifespan":
        with TestClient(served):
            assert refusals(app) == refusals(inner) == ALL
    assert TestClient(served).get("/report").status_code == 401
    assert refusals(app) == refusals(inner) == ALL


def test_documents_of_apps_in_others_too(service):
    inner = fastapi()
    app = asgi_face.KeyAuthMiddleware(Starlette(routes=[Mount("/v1", inner)]), service)
    shown = TestClient(app).get("/v1/openapi.json").json()
    assert shown["paths"]["/report"]["get"]["responses"].keys() >= ALL


def test_what_keyauth_demands_is_checked(service):
    from fastapi import Security

    app = FastAPI()
    wrong = KeyAuth(project="project_id")

    @app.get("/projects/{project}/report", dependencies=[Security(wrong, scopes=["report:read"])])
    async def view(project: str):
        raise AssertionError(f"reached {project}")

    with pytest.raises(UnmeetableDemand, match="project='project_id'"):
        TestClient(asgi_face.KeyAuthMiddleware(app, service)).get("/projects/2/report")


# ---- under a real server ------------------------------------------------------------------------

APP = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from keymw import AsyncKeyService, require_scopes
from keymw.asgi import KeyAuthMiddleware

@require_scopes("report:read", project="project_id")
async def view(request):
    return JSONResponse({})

app = KeyAuthMiddleware(
    Starlette(routes=[Route("/projects/{project}/report", view)]), AsyncKeyService("sqlite://")
)
"""


def test_uvicorn_does_not_start(tmp_path):
    (tmp_path / "faulty.py").write_text(APP)
    result = subprocess.run(
        [sys.executable, "-m", "uvicorn", "faulty:app", "--uds", str(tmp_path / "socket")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 3
    assert "GET /projects/{project}/report (view): it demands project='project_id'" in result.stderr
    assert "Traceback" not in result.stderr
