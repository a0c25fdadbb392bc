"""`keymw routes` on the examples of all frameworks, which serve the same."""

from __future__ import annotations

import json

import pytest

from cli.driving import assert_one_line, program
from serving import EXAMPLES

PROJECT = "/api/projects/{project_id}"
PEOPLE, ALL = {"personal"}, {"personal", "project_secret"}
#: Scopes and kinds of every guarded method and path.
DEMANDS = {
    ("GET", f"{PROJECT}/endpoints"): ("endpoint:read", PEOPLE),
    ("POST", f"{PROJECT}/endpoints"): ("endpoint:write", PEOPLE),
    ("GET", f"{PROJECT}/endpoints/{{name}}"): ("endpoint:read", PEOPLE),
    ("PATCH", f"{PROJECT}/endpoints/{{name}}"): ("endpoint:write", PEOPLE),
    ("DELETE", f"{PROJECT}/endpoints/{{name}}"): ("endpoint:write", PEOPLE),
    ("GET", f"{PROJECT}/endpoints/{{name}}/run"): ("endpoint:read", ALL),
    ("POST", f"{PROJECT}/endpoints/{{name}}/run"): ("endpoint:read", ALL),
    ("GET", f"{PROJECT}/export"): ("endpoint:read", ALL),
    ("GET", f"{PROJECT}/refresh"): ("endpoint:read", ALL),
    ("POST", f"{PROJECT}/refresh"): ("endpoint:read", ALL),
}
#: What frameworks serve of their own, without a key.
OWN = {
    "fastapi": ["/docs*", "/openapi.json", "/redoc"],
    "flask": ["/static/*"],
    "litestar": ["/schema*"],
    "quart": ["/static/*"],
}
NAMES = [
    *("starlette", "fastapi", "flask", "quart", "litestar", "falcon", "falcon_asgi"),
    *("bottle", "pyramid", "django", "rest_framework"),
]


def routes(tmp_path, app, *arguments):
    url = f"sqlite:///{tmp_path}/keymw.db"
    folder = ["--app-dir", str(EXAMPLES)]
    return program("routes", *folder, app, *arguments, KEYMW_DATABASE_URL=url)


@pytest.mark.parametrize("name", NAMES)
def test_every_example(tmp_path, name):
    opened = [f"--open={path}" for path in ("/health", "/whoami", *OWN.get(name, ()))]
    result = routes(tmp_path, f"{name}_endpoints:app", "--json", "--check", *opened)
    assert (result.returncode, result.stderr) == (0, "")
    found = {
        (route["method"], route["path"]): (*route["scopes"], set(route["kinds"]))
        for route in json.loads(result.stdout)
        if route["demands"]
    }
    expected = {}
    for (method, path), demand in DEMANDS.items():
        # Views that tell methods themselves are listed once.
        expected["*" if ("*", path) in found else method, path] = demand
    assert found == expected


def test_a_forgotten_demand_fails_the_check(tmp_path):
    result = routes(tmp_path, "starlette_endpoints:app", "--check", "--open=/health")
    assert result.returncode == 1
    assert "/whoami" in result.stderr
    assert "demands nothing" in result.stderr
    assert f"{PROJECT}/export" in result.stdout


@pytest.mark.parametrize(
    "app", ["asgi_endpoints:app", "no_such_module:app", "endpoints_data:nothing"]
)
def test_what_cannot_be_listed_is_no_green_check(tmp_path, app):
    assert_one_line(routes(tmp_path, app, "--check"), 1)
