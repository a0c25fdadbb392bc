"""The endpoint examples under real servers: one table of requests, and the same answers to it."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
import subprocess
import sys

import pytest

from conftest import eventually
from frameworks.cases import ALL, DETAIL, LIST, REVENUE, RUN
from frameworks.keys import make_tokens
from keymw import KeyService
from servers import redis_server
from serving import EXAMPLES as EXAMPLES_FOLDER
from serving import serve

EXAMPLES = [("uvicorn", "starlette_endpoints"), ("flask", "flask_endpoints")]
#: Fields that clients and caches go by.
FIELDS = ("Content-Type", "Cache-Control", "Vary", "WWW-Authenticate", "ETag", "Location")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for this module's servers, and the URLs that they share."""
    folder = tmp_path_factory.mktemp("examples")
    with redis_server() as redis:
        yield folder, {"database": f"sqlite:///{folder}/keymw.db", "redis": redis}


@pytest.fixture(scope="module")
def keys(place):
    """This process's view of the keys."""
    _, urls = place
    with KeyService(**urls) as service:
        service.migrate()
        yield service


@pytest.fixture(scope="module")
def tokens(keys):
    """A token of every sort that the cases name."""
    return make_tokens(keys)


@pytest.fixture(scope="module")
def servers(place, keys):  # the tables are there before the servers are
    """Both examples, on the same database and the same Redis."""
    folder, urls = place
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serve(*names, folder, **urls)) for names in EXAMPLES]


def ask(servers, method, path, **request):
    """Ask both, and return the one answer that they give."""
    answers = [server.ask(method, path, **request) for server in servers]
    said = [
        (
            answer.status,
            # Without a body, its type says nothing.
            [answer.headers.get_all(name) for name in FIELDS[answer.body == b"" :]],
            answer.json,
        )
        for answer in answers
    ]
    assert said[0] == said[1]
    return answers[0]


def in_both(servers, method, path, token, body=None):
    """Ask both for something that is to work; return what they say."""
    body = None if body is None else json.dumps(body).encode()
    answer = ask(servers, method, path, token=token, body=body)
    assert 200 <= answer.status < 300, answer
    return answer.json


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", RUN, {"GET", "HEAD", "POST"}), ("PUT", DETAIL, {"GET", "HEAD", "PATCH", "DELETE"})],
)
def test_what_a_path_allows(servers, method, path, allowed):
    for server in servers:
        answer = server.ask(method, path)
        assert answer.status == 405
        # Flask answers OPTIONS by itself.
        assert set(answer.headers["Allow"].split(", ")) - {"OPTIONS"} == allowed


def test_the_life_of_an_endpoint(servers, tokens):
    person, project = tokens["person"], tokens["project"]
    endpoint = {"name": "average-order", "measure": "average", "by": "plan"}
    path = f"{LIST}/average-order"
    assert in_both(servers, "POST", LIST, person, endpoint) == endpoint
    assert in_both(servers, "GET", LIST, person) == [REVENUE, endpoint]
    assert in_both(servers, "GET", LIST.replace("2", "3"), person) == []
    assert in_both(servers, "GET", f"{path}/run?country=DE", project)["results"] == {
        "starter": 20,
        "team": 100,
    }
    changed = in_both(servers, "PATCH", path, person, {"measure": "count", "by": None})
    assert changed == {"name": "average-order", "measure": "count", "by": None}
    assert in_both(servers, "POST", f"{path}/run", project, {})["results"] == {"all": 7}
    assert in_both(servers, "POST", f"{path}/run", project, {"country": "IT"})["results"] == {}
    assert in_both(servers, "DELETE", path, person) is None
    for method, who in (("GET", person), ("DELETE", person)):
        assert ask(servers, method, path, token=who).status == 404
    assert ask(servers, "GET", f"{path}/run", token=project).status == 404


def test_the_employee_leaves_and_the_project_key_stays(servers, keys):
    machine = keys.issue_project_key("2", "outlives", ["endpoint:read"], actor="carla").token
    person = keys.issue_personal_key("carla", "laptop", ["*"], actor="carla").token
    for token in (machine, person):
        assert in_both(servers, "GET", RUN, token) == ALL
    keys.deactivate_user("carla", actor="admin")
    for server in servers:
        eventually(lambda server=server: server.ask("GET", RUN, token=person).status == 401)
    assert ask(servers, "GET", RUN, token=person).json["code"] == "owner_inactive"
    assert in_both(servers, "GET", RUN, machine) == ALL


@pytest.mark.parametrize(("change", "code"), [("roll", "rolled_key"), ("revoke", "revoked_key")])
def test_a_change_reaches_both_servers(servers, keys, change, code):
    issued = keys.issue_project_key("2", f"to-{change}", ["endpoint:read"])
    assert in_both(servers, "GET", RUN, issued.token) == ALL
    changed = getattr(keys, change)(issued.key.id)
    for server in servers:
        eventually(lambda server=server: server.ask("GET", RUN, token=issued.token).status == 401)
    assert ask(servers, "GET", RUN, token=issued.token).json["code"] == code
    if change == "roll":
        assert in_both(servers, "GET", RUN, changed.token) == ALL


@pytest.mark.parametrize(("program", "app"), EXAMPLES)
def test_as_the_docstring_says(program, app, tmp_path, monkeypatch):
    """With no variable set: a database file in the folder, and no Redis."""
    for name in ("KEYMW_DATABASE_URL", "KEYMW_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    text = ast.get_docstring(ast.parse((EXAMPLES_FOLDER / f"{app}.py").read_text()))
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    said = []
    for line in lines:
        name, *arguments = shlex.split(line)
        if name == "keymw":
            command = [sys.executable, "-m", "keymw", *arguments]
            said.append(subprocess.check_output(command, cwd=tmp_path, text=True))
    tokens = re.findall(r"^ph[sa]_\w+$", "".join(said), re.MULTILINE)
    path = re.search(r"localhost:\d+(/\S+)", lines[-1])[1]
    assert (path, len(tokens)) == (RUN, 2)
    assert any(line.startswith(program) for line in lines)
    with serve(program, app, tmp_path) as server:
        for token in tokens:
            assert server.ask("GET", path, token=token).json == ALL
