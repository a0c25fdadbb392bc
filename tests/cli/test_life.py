"""The whole life of keys and users, on real databases."""

from __future__ import annotations

import json
import re
import time

from cli.driving import ISSUE, PERSONAL, TOKEN, Cli, program
from servers import redis_server


def says(text):
    return f"Redis is not configured: within 5 s every process {text}.\n"


def test_the_life_of_a_project_key(database_url):
    run = Cli(database_url)
    assert run.done("migrate").stdout == "The tables are up to date.\n"
    run.done("migrate")

    issued = run.done(*ISSUE, "--scope", "flag:write", "--actor", "bea")
    first = issued.stdout.removesuffix("\n")
    assert TOKEN.fullmatch(first)
    assert first not in issued.stderr
    assert re.search(r"^scopes +endpoint:read, flag:write$", issued.stderr, re.MULTILINE)
    assert re.search(r"^created by +bea$", issued.stderr, re.MULTILINE)
    (key,) = run.json("list")
    granted = run.done("verify", stdin=first + "\n")
    assert granted.stderr == ""
    assert re.search(
        rf"^granted +yes\n.*^key id +{key['id']}$", granted.stdout, re.MULTILINE | re.DOTALL
    )

    rolled = run.done("roll", key["id"], "--grace", "24h", "--actor", "bea")
    second = rolled.stdout.removesuffix("\n")
    assert TOKEN.fullmatch(second)
    assert rolled.stderr.endswith(says("knows that the old secret ends in 1d"))
    assert [run.reason(first), run.reason(second)] == [None, None]
    rolled = run.done("roll", key["id"])
    third = rolled.stdout.removesuffix("\n")
    assert rolled.stderr.endswith(says("refuses the old secret"))
    assert [run.reason(second), run.reason(third)] == ["rolled_key", None]
    assert len({first, second, third}) == 3

    ended = run.done("revoke", key["id"], "--actor", "bea")
    assert (ended.stdout, ended.stderr) == (says("refuses it"), "")
    assert [run.reason(first), run.reason(third)] == ["revoked_key", "revoked_key"]
    assert run.done("revoke", key["id"]).stdout == says("refuses it")
    assert run.done("list").stdout == "No keys.\n"
    assert re.search(rf"^{key['id']} .* revoked 20", run.done("list", "--all").stdout, re.MULTILINE)

    log = run.done("history").stdout
    assert [line.split()[3] for line in log.splitlines()[2:]] == [
        *("revoked", "rolled", "rolled", "issued"),
    ]
    assert re.search(rf"^2 .* rolled +{key['id']} +bea +mask: phs_\.\.\.", log, re.MULTILINE)
    for secret in (first, second, third):
        assert secret not in log


def test_the_life_of_a_user(database_url):
    run = Cli(database_url)
    run.done("migrate")
    key_id, token = run.issue(*PERSONAL)
    project_id, project_token = run.issue(*ISSUE, "--actor", "anna")
    left = run.done("users", "deactivate", "anna", "--actor", "bea")
    said, advice, *table = left.stdout.splitlines(keepends=True)
    assert (said, left.stderr) == (says("refuses the user's keys"), "")
    assert advice.startswith("Project keys that the user has made go on. Roll those")
    assert project_id in table[-1]
    assert [run.reason(token), run.reason(project_token)] == ["owner_inactive", None]
    back = run.done("users", "activate", "anna")
    assert back.stdout == says("takes the user's keys again")
    assert run.reason(token) is None
    log = run.done("history", "--user", "anna").stdout
    assert re.search(
        r"^3 .* user_deactivated +user anna +bea +active: yes -> no$", log, re.MULTILINE
    )
    assert re.search(
        rf"^1 .* issued +{key_id} +- +label: laptop; mask: .*; scopes: \*$", log, re.MULTILINE
    )


def test_lists_and_shows(run):
    project_key, _ = run.issue()
    personal_key, _ = run.issue(*PERSONAL)
    listed = run.done("list").stdout
    assert listed.count("\n") == 4  # a header, its rule, two keys
    assert re.search(rf"^{project_key} +project 2 +deploy +phs_\.\.\.", listed, re.MULTILINE)
    assert re.search(rf"^{personal_key} +user anna +laptop +pha_\.\.\.", listed, re.MULTILINE)
    assert [key["id"] for key in run.json("list", "--project", "2")] == [project_key]
    assert [key["id"] for key in run.json("list", "--user", "anna")] == [personal_key]
    shown = run.done("show", project_key).stdout
    assert re.search(r"^label +deploy$", shown, re.MULTILINE)
    assert re.search(r"^ends +never$", shown, re.MULTILINE)


def test_history_is_narrowed(run):
    key_id, _ = run.issue()
    run.issue(*PERSONAL)
    run.done("revoke", key_id)
    assert [event["seq"] for event in run.json("history")] == [3, 2, 1]
    assert [event["seq"] for event in run.json("history", "--key", key_id)] == [3, 1]
    assert [event["seq"] for event in run.json("history", "--project", "2")] == [3, 1]
    assert [event["seq"] for event in run.json("history", "--user", "anna")] == [2]
    assert [event["seq"] for event in run.json("history", "--limit", "1")] == [3]
    assert run.done("history", "--user", "bea").stdout == "Nothing has happened.\n"


def test_the_program_on_postgresql_and_redis(postgres_url, redis_url):
    run = Cli(postgres_url, redis_url)

    def done(*arguments, stdin=""):
        result = program(*arguments, stdin=stdin, **run.environment)
        assert result.returncode == 0, result.stderr
        return result

    assert done("migrate").stderr == ""
    issued = done(*ISSUE)
    assert re.fullmatch(TOKEN.pattern + "\n", issued.stdout)
    key_id = run.json("list")[0]["id"]
    granted = done("verify", stdin=issued.stdout)
    assert (granted.stdout.split("\n")[0].split(), granted.stderr) == (["granted", "yes"], "")

    rolled = run.json("roll", key_id, "--grace", "90m")
    assert rolled["propagation"] == {"acknowledged": True, "bound_seconds": 1.0}
    run.done("verify", stdin=issued.stdout)
    ended = done("revoke", key_id)
    assert ended.stdout == "Acknowledged by Redis: within 1 s every process refuses it.\n"
    assert ended.stderr == ""
    for token in (issued.stdout, rolled["token"]):
        denied = run("verify", "--json", stdin=token)
        assert (denied.exit_code, denied.stderr) == (1, "")
        assert json.loads(denied.stdout)["reason"] == "revoked_key"
    gone = run.done("users", "deactivate", "anna").stdout
    assert gone == "Acknowledged by Redis: within 1 s every process refuses the user's keys.\n"
    assert run.done("history").stdout.count("\n") == 6


def test_redis_down_at_revoke(sqlite_url):
    with redis_server() as redis:
        run = Cli(sqlite_url, redis)
        run.done("migrate")
        key_id, token = run.issue()
        other_id, _ = run.issue("issue", "project", "2", "other", "--scope", "endpoint:read")
        assert run.reason(token) is None
    run.environment["KEYMW_UNACKNOWLEDGED_BOUND"] = "7.5"
    result = program("revoke", key_id, **run.environment)
    assert result.returncode == 0
    assert result.stdout == "Redis could not be told: within 7.5 s every process refuses it.\n"
    assert result.stderr.startswith("keymw: Redis cannot be used")
    assert result.stderr.count("\n") == 1
    assert run.reason(token) == "revoked_key"
    untold = {"acknowledged": False, "bound_seconds": 7.5}
    assert run.json("revoke", other_id)["propagation"] == untold


def test_waiting_until_it_holds_everywhere(run):
    waits = {"KEYMW_ACKNOWLEDGED_BOUND": "0.2", "KEYMW_UNACKNOWLEDGED_BOUND": "0.3"}
    run.environment.update(waits | {"KEYMW_POLL_INTERVAL": "0.05"})
    key_id, token = run.issue(*PERSONAL)
    at_once = {"acknowledged": False, "bound_seconds": 0.0}
    started = time.monotonic()
    left = run.done("users", "deactivate", "anna", "--wait").stdout
    assert left == "Redis is not configured: from now on every process refuses the user's keys.\n"
    assert time.monotonic() >= started + 0.3
    assert run.reason(token) == "owner_inactive"
    assert run.json("users", "deactivate", "anna", "--wait")["propagation"] == at_once
    assert run.json("revoke", key_id, "--wait")["propagation"] == at_once
    ended = run.done("revoke", key_id, "--wait").stdout
    assert ended == "Redis is not configured: from now on every process refuses it.\n"


def test_expiry_is_shown(run):
    key_id, _ = run.issue(*ISSUE, "--expires-at", "2099-01-01T02:00:00+02:00")
    assert run.json("show", key_id)["expires_at"] == "2099-01-01T00:00:00+00:00"
    assert re.search(r"^ends +2099-01-01 00:00:00Z$", run.done("show", key_id).stdout, re.MULTILINE)


def test_an_expired_key_says_so(run, monkeypatch):
    from datetime import UTC, datetime

    from keymw.cli import keys as module

    key_id, _ = run.issue(*ISSUE, "--expires-at", "2099-01-01T00:00:00Z")
    later = datetime(2100, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(module, "now", lambda: later)
    assert "expired 2099-01-01 00:00:00Z" in run.done("show", key_id).stdout
