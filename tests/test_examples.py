"""The endpoint examples under real servers: one table of requests, and the same answers to it."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

import pytest

from conftest import eventually
from keymw import KeyService
from keymw.tokens import generate
from servers import redis_server
from serving import EXAMPLES as EXAMPLES_FOLDER
from serving import serve

EXAMPLES = [("uvicorn", "starlette_endpoints"), ("flask", "flask_endpoints")]
#: Fields that clients and caches go by.
FIELDS = ("Content-Type", "Cache-Control", "Vary", "WWW-Authenticate", "ETag", "Location")

LIST = "/api/projects/2/endpoints"
DETAIL = f"{LIST}/revenue"
RUN = f"{DETAIL}/run"
REVENUE = {"name": "revenue", "measure": "sum", "by": "country"}
ALL = {"name": "revenue", "results": {"DE": 220, "FR": 120, "US": 320}}
TEAM = {"name": "revenue", "results": {"DE": 200, "FR": 100, "US": 300}}
#: "2" in full-width digits, percent-encoded.
WIDE_TWO = "%EF%BC%92"

INVALID = 'Bearer realm="keymw", error="invalid_token"'
INSUFFICIENT = 'Bearer realm="keymw", error="insufficient_scope"'
#: Status and challenge of every refusal of keymw's.
REFUSALS = {
    "not_authenticated": (401, 'Bearer realm="keymw"'),
    "malformed_credentials": (400, 'Bearer realm="keymw", error="invalid_request"'),
    "unrecognized_credentials": (401, INVALID),
    "invalid_key": (401, INVALID),
    "revoked_key": (401, INVALID),
    "rolled_key": (401, INVALID),
    "owner_inactive": (401, INVALID),
    "kind_not_supported": (403, INSUFFICIENT),
    "wrong_project": (403, INSUFFICIENT),
    "scope_missing": (403, INSUFFICIENT + ', scope="{}"'),
}


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
    """A token of every sort that the table names."""
    read = ["endpoint:read"]
    project = keys.issue_project_key("2", "nightly-report", read)
    rolled = keys.issue_project_key("2", "rolled", read)
    revoked = keys.issue_project_key("2", "revoked", read)
    found = {
        "project": project.token,
        "scopeless": keys.issue_project_key("2", "scopeless", ["other:read"]).token,
        # Issued before the app's catalog kept such scopes from machines.
        "writer": keys.issue_project_key("2", "writer", ["endpoint:write"]).token,
        "elsewhere": keys.issue_project_key("3", "elsewhere", read).token,
        "rolled": rolled.token,
        "new secret": keys.roll(rolled.key.id).token,
        "revoked": revoked.token,
        "person": keys.issue_personal_key("user-7", "laptop", ["endpoint:write"]).token,
        "reader": keys.issue_personal_key("user-7", "reader", read).token,
        "everything": keys.issue_personal_key("user-7", "everything", ["*"]).token,
        "limited": keys.issue_personal_key("user-7", "limited", ["*"], projects=["3"]).token,
        "gone": keys.issue_personal_key("ben", "gone", ["*"]).token,
        "unknown": generate("phs_"),
        "foreign": "sk_live_1234567890",
        "garbage": "phs_garbage",
        "swapped prefix": "pha_" + project.token.removeprefix("phs_"),
        "broken checksum": project.token[:-1] + ("0" if project.token[-1] != "0" else "1"),
        "upper case": "phs_" + project.token.removeprefix("phs_").upper(),
    }
    keys.revoke(revoked.key.id)
    keys.deactivate_user("ben")
    return found


@pytest.fixture(scope="module")
def servers(place, keys):  # the tables are there before the servers are
    """Both examples, on the same database and the same Redis."""
    folder, urls = place
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serve(*names, folder, **urls)) for names in EXAMPLES]


@dataclass
class Row:
    """A request, and the answer that it has from both examples."""

    name: str
    method: str
    path: str
    who: str | None = None
    #: A status, or the code of a refusal.
    answer: int | str = 200
    json: object = None
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    #: For a missing scope: what the route asks for.
    scope: str = ""


def fields(*names):
    return tuple((name, "Bearer {project}") for name in names)


TABLE = [
    # Machines execute.
    Row("project key runs", "GET", RUN, "project", json=ALL),
    Row("project key runs with a query", "GET", f"{RUN}?plan=team", "project", json=TEAM),
    Row("the last of two", "GET", f"{RUN}?plan=x&plan=team", "project", json=TEAM),
    Row("project key posts", "POST", RUN, "project", json=TEAM, body=b'{"plan": "team"}'),
    Row("project key posts nothing", "POST", RUN, "project", json=ALL),
    Row("new secret of a rolled key", "GET", RUN, "new secret", json=ALL),
    Row("head", "HEAD", RUN, "project"),
    # Humans configure, and may execute too.
    Row("personal key runs", "POST", RUN, "reader", json=ALL),
    Row("personal key lists", "GET", LIST, "reader", json=[REVENUE]),
    Row("personal key reads", "GET", DETAIL, "person", json=REVENUE),
    Row("wildcard reads", "GET", DETAIL, "everything", json=REVENUE),
    Row("head of what is read", "HEAD", DETAIL, "person"),
    # Machines do not configure.
    Row("project key lists", "GET", LIST, "project", "kind_not_supported"),
    Row("project key creates", "POST", LIST, "project", "kind_not_supported", body=b"{}"),
    Row("project key reads", "GET", DETAIL, "project", "kind_not_supported"),
    Row("project key changes", "PATCH", DETAIL, "project", "kind_not_supported", body=b"{}"),
    Row("project key deletes", "DELETE", DETAIL, "project", "kind_not_supported"),
    Row("head of a refusal", "HEAD", DETAIL, "project", "kind_not_supported"),
    # Scopes.
    Row(
        "project key without scope", "GET", RUN, "scopeless", "scope_missing", scope="endpoint:read"
    ),
    Row("project key out of catalog", "GET", RUN, "writer", "scope_missing", scope="endpoint:read"),
    Row("reader creates", "POST", LIST, "reader", "scope_missing", scope="endpoint:write"),
    Row("reader deletes", "DELETE", DETAIL, "reader", "scope_missing", scope="endpoint:write"),
    # Projects.
    Row("other project's key", "GET", RUN, "elsewhere", "wrong_project"),
    Row("other project's endpoint", "GET", RUN.replace("2", "3"), "project", "wrong_project"),
    Row("full-width digit", "GET", RUN.replace("2", WIDE_TWO), "project", "wrong_project"),
    Row("leading zero", "GET", RUN.replace("2", "02"), "project", "wrong_project"),
    Row("encoded digit", "GET", RUN.replace("2", "%32"), "project", json=ALL),
    Row("limited personal key", "GET", DETAIL, "limited", "wrong_project"),
    # No good key.
    Row("no key", "GET", RUN, None, "not_authenticated"),
    Row("no key, head", "HEAD", RUN, None, "not_authenticated"),
    Row("no key creates", "POST", LIST, None, "not_authenticated", body=b"{}"),
    Row("garbage", "GET", RUN, "garbage", "invalid_key"),
    Row("broken checksum", "GET", RUN, "broken checksum", "invalid_key"),
    Row("swapped prefix", "GET", RUN, "swapped prefix", "invalid_key"),
    Row("upper case", "GET", RUN, "upper case", "invalid_key"),
    Row("unknown", "GET", RUN, "unknown", "invalid_key"),
    Row("unknown, head", "HEAD", RUN, "unknown", "invalid_key"),
    Row("somebody else's", "GET", RUN, "foreign", "unrecognized_credentials"),
    Row("revoked", "GET", RUN, "revoked", "revoked_key"),
    Row("rolled", "GET", RUN, "rolled", "rolled_key"),
    Row("owner gone", "GET", DETAIL, "gone", "owner_inactive"),
    # Odd headers.
    Row("basic", "GET", RUN, None, "not_authenticated", headers=(("Authorization", "Basic Og=="),)),
    Row(
        "two fields",
        "GET",
        RUN,
        "project",
        "malformed_credentials",
        headers=fields("authorization"),
    ),
    Row(
        "no token",
        "GET",
        RUN,
        None,
        "malformed_credentials",
        headers=(("Authorization", "Bearer"),),
    ),
    Row("any case", "GET", RUN, json=ALL, headers=(("aUTHORIZATION", "bEARER  {project}\t"),)),
    Row(
        "elsewhere in the request",
        "GET",
        RUN,
        None,
        "not_authenticated",
        headers=fields("X-Api-Key"),
    ),
    # Open routes.
    Row("health", "GET", "/health", json={"status": "ok"}),
    Row("health with a bad key", "GET", "/health", "unknown", "invalid_key"),
    Row("health with another's key", "GET", "/health", "foreign", json={"status": "ok"}),
    Row(
        "nobody",
        "GET",
        "/whoami",
        json={"kind": None, "name": "", "project_id": None, "scopes": []},
    ),
    Row(
        "a project key",
        "GET",
        "/whoami",
        "project",
        json={
            "kind": "project_secret",
            "name": "nightly-report",
            "project_id": "2",
            "scopes": ["endpoint:read"],
        },
    ),
    Row(
        "a person",
        "GET",
        "/whoami",
        "everything",
        json={"kind": "personal", "name": "user-7", "project_id": None, "scopes": ["*"]},
    ),
    # What the app itself refuses.
    Row("no such path", "GET", "/nowhere", answer=404, json={"detail": "Not Found"}),
    Row("no such path with a bad key", "GET", "/nowhere", "garbage", "invalid_key"),
    Row("no such method", "DELETE", RUN, "project", 405, json={"detail": "Method Not Allowed"}),
    Row(
        "no such method of a class",
        "PUT",
        DETAIL,
        answer=405,
        json={"detail": "Method Not Allowed"},
    ),
    Row("no such endpoint", "GET", f"{LIST}/x/run", "project", 404),
    Row("no such endpoint to read", "GET", f"{LIST}/x", "person", 404),
    Row("no such endpoint to change", "PATCH", f"{LIST}/x", "person", 404, body=b"{}"),
    Row("no such endpoint to delete", "DELETE", f"{LIST}/x", "person", 404),
    Row("broken JSON", "POST", RUN, "project", 400, body=b"{"),
    Row("deep JSON", "POST", RUN, "project", 400, body=b"[" * 100_000),
    Row("no object", "POST", RUN, "project", 422, body=b"[]"),
    Row("no such filter", "GET", f"{RUN}?amount=1", "project", 422),
    Row("duplicate", "POST", LIST, "person", 409, body=json.dumps(REVENUE).encode()),
    Row("no name", "POST", LIST, "person", 422, body=b"{}"),
    Row("bad name", "POST", LIST, "person", 422, body=b'{"name": "No Name"}'),
    Row("bad measure", "POST", LIST, "person", 422, body=b'{"name": "x", "measure": ["sum"]}'),
    Row("bad column", "PATCH", DETAIL, "person", 422, body=b'{"by": "amount"}'),
    Row("new name", "PATCH", DETAIL, "person", 422, body=b'{"name": "other"}'),
]


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


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_table(servers, tokens, row):
    headers = [(name, value.format(**tokens)) for name, value in row.headers]
    token = None if row.who is None else tokens[row.who]
    answer = ask(servers, row.method, row.path, token=token, headers=headers, body=row.body)
    refused = isinstance(row.answer, str)
    status, challenge = REFUSALS[row.answer] if refused else (row.answer, None)
    assert answer.status == status
    assert answer.headers.get_all("Vary") == ["Authorization"]
    challenges = answer.headers.get_all("WWW-Authenticate", [])
    assert challenges == ([challenge.format(row.scope)] if refused else [])
    assert answer.headers["Cache-Control"] == ("no-store" if refused else None)
    kind = "application/problem+json" if refused else "application/json"
    assert answer.headers["Content-Type"] == kind
    if row.method == "HEAD":
        assert answer.body == b""
        assert int(answer.headers["Content-Length"]) > 0
    elif refused:
        assert answer.json.keys() == {"type", "title", "status", "detail", "code"}
        assert (answer.json["status"], answer.json["code"]) == (status, row.answer)
    elif row.json is not None:
        assert answer.json == row.json
    else:
        assert answer.json.keys() == {"detail"}


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
