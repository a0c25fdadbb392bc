"""How an app is looked at: `check` for a row of the table, and what takes more than one."""

from __future__ import annotations

import contextlib
import http.client
import json

from conftest import eventually
from frameworks.cases import ALL, PROJECT, REFUSALS, RUN

#: How many lines the export has.
_LINES = 7


def check(server, tokens, row):
    """Hold that the app answers a row as every app does."""
    headers = [(name, value.format(**tokens)) for name, value in row.headers]
    token = None if row.who is None else tokens[row.who]
    answer = server.ask(row.method, row.path, token=token, headers=headers, body=row.body)
    refused = isinstance(row.answer, str)
    status, challenge = REFUSALS[row.answer] if refused else (row.answer, None)
    assert answer.status == status, (answer.status, answer.body)
    assert "Authorization" in _members(answer.headers.get_all("Vary"))
    challenges = answer.headers.get_all("WWW-Authenticate", [])
    assert challenges == ([challenge.format(row.scope)] if refused else [])
    assert answer.headers["Cache-Control"] == ("no-store" if refused else None)
    kind = answer.headers["Content-Type"].partition(";")[0]
    assert kind == ("application/problem+json" if refused else "application/json")
    if row.method == "HEAD":
        assert answer.body == b""
    elif refused:
        assert answer.json.keys() == {"type", "title", "status", "detail", "code"}
        assert (answer.json["status"], answer.json["code"]) == (status, row.answer)
    elif row.json is not None:
        assert answer.json == row.json
    else:
        assert answer.json.keys() == {"detail"}


def _members(values):
    return {member.strip() for value in values for member in value.split(",")}


def check_stream(server, tokens):
    """Each line of a streamed body knows whom it is for; the next request of the connection not."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        for who, name in (("project", "nightly-report"), ("reader", "user-7")):
            headers = {"Authorization": f"Bearer {tokens[who]}"}
            connection.request("GET", f"{PROJECT}/export", headers=headers)
            response = connection.getresponse()
            lines = response.read().decode().splitlines()
            assert (response.status, len(lines)) == (200, _LINES)
            assert [line.split()[0] for line in lines] == [name] * _LINES
            connection.request("GET", "/whoami")
            assert json.loads(connection.getresponse().read())["kind"] is None
    refused = server.ask("GET", f"{PROJECT}/export")
    assert (refused.status, refused.json["code"]) == (401, "not_authenticated")


def check_background(server, tokens):
    """Work that goes on after the answer knows whom it is for."""
    path = f"{PROJECT}/refresh"
    for who, name in (("project", "nightly-report"), ("reader", "user-7")):
        assert server.ask("POST", path, token=tokens[who]).status == 202

        def done(name=name):
            return server.ask("GET", path, token=tokens["project"]).json == {"by": name}

        eventually(done)
    assert server.ask("POST", path).status == 401


def check_revoked(server, keys, name):
    """A key that is revoked elsewhere is refused here too."""
    issued = keys.issue_project_key("2", f"to revoke: {name}", ["endpoint:read"])
    assert server.ask("GET", RUN, token=issued.token).json == ALL
    keys.revoke(issued.key.id)
    eventually(lambda: server.ask("GET", RUN, token=issued.token).status == 401)
    assert server.ask("GET", RUN, token=issued.token).json["code"] == "revoked_key"
