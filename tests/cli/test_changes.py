"""Editing, and what is done about leaks, from the command line."""

from __future__ import annotations

import json

import pytest

from cli.driving import ISSUE, UNKNOWN, Cli, assert_one_line


@pytest.fixture
def run(database_url):
    made = Cli(database_url)
    made.done("migrate")
    return made


def test_a_key_is_edited(run):
    key_id, token = run.issue(*ISSUE, "--expires-at", "2099-01-01T00:00:00Z")
    scopes = ("--scope", "flag:read", "--scope", "flag:write")
    found = run.json("update", key_id, "--label", "other", *scopes, "--version", "1")
    assert found["key"]["label"] == "other"
    assert found["key"]["scopes"] == ["flag:read", "flag:write"]
    assert found["key"]["expires_at"] == "2099-01-01T00:00:00+00:00"
    assert found["propagation"]["bound_seconds"] == 5.0
    later = run.json("update", key_id, "--expires-at", "2100-01-01T00:00:00Z")["key"]
    assert later["expires_at"] == "2100-01-01T00:00:00+00:00"
    assert run.json("update", key_id, "--never-expires")["key"]["expires_at"] is None
    shown = run.done("update", key_id, "--label", "third")
    assert "third" in shown.stdout
    assert shown.stderr.endswith("within 5 s every process knows the change.\n")
    assert run.reason(token) is None


def test_of_two_editors_the_second_is_told(run):
    key_id, _ = run.issue()
    run.done("update", key_id, "--label", "mine", "--version", "1")
    said = assert_one_line(run("update", key_id, "--label", "theirs", "--version", "1"), 1)
    assert "has version 2 now" in said
    assert run.json("show", key_id)["label"] == "mine"


def test_one_end_is_enough(run):
    ends = ("--never-expires", "--expires-at", "2099-01-01T00:00:00Z")
    assert_one_line(run("update", "key_0", *ends), 2)


def test_the_log_by_actor_and_by_page(run):
    key_id, _ = run.issue(*ISSUE, "--actor", "user-7")
    run.done("update", key_id, "--label", "x", "--actor", "user-8")
    run.done("revoke", key_id, "--reason", "shut down", "--actor", "user-7")
    events = run.json("history", "--actor", "user-7")
    assert [(event["seq"], event["reason"]) for event in events] == [(3, "shut down"), (1, None)]
    assert [event["seq"] for event in run.json("history", "--before", "3", "--limit", "1")] == [2]
    assert "reason: shut down" in run.done("history").stdout


def test_old_secrets_in_their_grace_are_shown(run):
    key_id, old = run.issue()
    run.done("roll", key_id, "--grace", "24h")
    (retired,) = run.json("show", key_id)["retired"]
    assert retired["last_used_at"] is None
    run.done("verify", stdin=old)
    (retired,) = run.json("show", key_id)["retired"]
    assert retired["last_used_at"] is not None
    shown = run.done("show", key_id).stdout
    assert f"Its old secret {retired['mask']} works until " in shown
    assert "old secret last used: 20" in run.done("history").stdout
    granted = run.json("verify", stdin=old)
    assert (granted["mask"], granted["retired_until"] is None) == (retired["mask"], False)


def test_leaked_tokens_are_ended(run):
    first_id, first = run.issue()
    second_id, second = run.issue("issue", "personal", "anna", "laptop", "--scope", "*")
    where = ("--source", "https://example.org/paste", "--actor", "user-7")
    found = run.done("leaked", *where, stdin=f"{first}\n\n  {second}\n").stdout.splitlines()
    assert found[0].startswith(f"Line 1: revoked {first_id}. ")
    assert found[1].startswith(f"Line 2: revoked {second_id}. ")
    assert [run.reason(first), run.reason(second)] == ["revoked_key"] * 2
    (event, _) = run.json("history", "--key", first_id)
    assert (event["reason"], event["actor"]) == ("leaked: https://example.org/paste", "user-7")
    again = run.done("leaked", stdin=first).stdout
    assert again == f"Line 1: it does not work any more; nothing was changed about {first_id}.\n"


def test_a_token_that_nobody_knows_is_said_to_be_so(run):
    key_id, token = run.issue()
    result = run("leaked", "--json", stdin=f"{UNKNOWN}\n{token}\n")
    assert result.exit_code == 1
    unknown, revoked = json.loads(result.stdout)
    assert unknown == {"outcome": "unknown", "key": None, "propagation": None}
    assert (revoked["outcome"], revoked["key"]["id"]) == ("revoked", key_id)
    assert token not in result.stdout
    assert run("leaked", stdin=UNKNOWN).stdout == "Line 1: no key has, or had, this token.\n"


@pytest.mark.parametrize("text", ["", " \n\t\n", "x\n" * 10_001], ids=["none", "blank", "many"])
def test_no_tokens_and_too_many(run, text):
    assert_one_line(run("leaked", stdin=text), 1)


def test_no_leaked_key_lives_on_while_another_is_waited_for(run):
    waits = {"KEYMW_ACKNOWLEDGED_BOUND": "0.2", "KEYMW_UNACKNOWLEDGED_BOUND": "0.3"}
    run.environment.update(waits | {"KEYMW_POLL_INTERVAL": "0.05"})
    tokens = [run.issue("issue", "personal", "anna", f"{n}", "--scope", "*")[1] for n in range(3)]
    first, *rest = tokens
    said = run.done("leaked", "--wait", stdin=f"\ufeff{first}\n").stdout.splitlines()
    assert said[0].startswith("Line 1: revoked ")
    assert said[1].endswith("from now on every process refuses them.")
    given = "\n".join(rest)
    found = json.loads(run("leaked", "--wait", "--json", stdin=f"{given}\n{UNKNOWN}").stdout)
    assert [leak["outcome"] for leak in found] == ["revoked", "revoked", "unknown"]
    assert [leak["propagation"]["bound_seconds"] for leak in found[:2]] == [0.0, 0.0]
    assert [run.reason(token) for token in tokens] == ["revoked_key"] * 3
