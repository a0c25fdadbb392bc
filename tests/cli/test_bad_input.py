"""Bad input is one line on standard error, and nothing is stored."""

from __future__ import annotations

import pytest

from cli.driving import ISSUE, PERSONAL, assert_one_line, program

BAD = {
    "label too long": (["issue", "project", "2", "x" * 41, "--scope", "a:read"], "label: "),
    "label empty": (["issue", "project", "2", "", "--scope", "a:read"], "label: "),
    "label control": (["issue", "project", "2", "a\x1b[31mb", "--scope", "a:read"], "label: "),
    "label bidi": (["issue", "project", "2", "a\u202eb", "--scope", "a:read"], "label: "),
    "label space": (["issue", "project", "2", " a", "--scope", "a:read"], "label: "),
    "project empty": (["issue", "project", "", "a", "--scope", "a:read"], "project_id: "),
    "user control": (["issue", "personal", "a\n", "a", "--scope", "a:read"], "user_id: "),
    "scope form": (["issue", "project", "2", "a", "--scope", "endpoint"], "scopes: 'endpoint' is"),
    "scope action": (["issue", "project", "2", "a", "--scope", "a:delete"], "scopes: "),
    "scope empty": (["issue", "project", "2", "a", "--scope", ""], "scopes: "),
    "one bad of two": ([*ISSUE, "--scope", "B:read"], "scopes: 'B:read' is"),
    "wildcard": (["issue", "project", "2", "a", "--scope", "*"], "scopes: a project secret key"),
    "past": ([*ISSUE, "--expires-at", "2020-01-01T00:00:00Z"], "expires_at: 2020-"),
    "naive": ([*ISSUE, "--expires-at", "2099-01-01T00:00:00"], "expires_at: give a time with"),
    "date": ([*PERSONAL, "--expires-at", "2099-01-01"], "expires_at: give a time with"),
    "actor": ([*ISSUE, "--actor", ""], "actor: "),
    "limited to nothing": ([*PERSONAL, "--project", ""], "projects: "),
    "unknown key": (
        ["show", "key_0"],
        "There is no key with the id 'key_0': `keymw list` shows those there are.",
    ),
    "roll unknown": (
        ["roll", "key_0"],
        "There is no key with the id 'key_0': `keymw list` shows those there are.",
    ),
    "revoke unknown": (
        ["revoke", "key_0"],
        "There is no key with the id 'key_0': `keymw list` shows those there are.",
    ),
    "dashed id": (
        ["show", "--", "-5"],
        "There is no key with this id: `keymw list` shows those there are.",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_stores_nothing(run, arguments, message):
    assert assert_one_line(run(*arguments), 1).startswith("keymw: " + message)
    depth = 2 if arguments[0] == "issue" else 1
    assert_one_line(run(*arguments[:depth], "--json", *arguments[depth:]), 1)
    assert run.stored() == ([], [])


MISUSED = {
    "no scope": (["issue", "project", "2", "a"], "Missing option '--scope'."),
    "no label": (["issue", "project", "2", "--scope", "a:read"], "Missing argument 'LABEL'."),
    "time": ([*ISSUE, "--expires-at", "tomorrow"], "'tomorrow' is not a time"),
    "grace unit": (["roll", "key_0", "--grace", "5x"], "'5x' is not a duration"),
    "grace sign": (["roll", "key_0", "--grace=-1h"], "'-1h' is not a duration"),
    "grace fraction": (["roll", "key_0", "--grace", "1.5h"], "'1.5h' is not a duration"),
    "grace digits": (["roll", "key_0", "--grace", "\uff19h"], "is not a duration"),
    "grace huge": (["roll", "key_0", "--grace", "9999999999d"], "is not a duration"),
    "limit": (["history", "--limit", "0"], "Invalid value for '--limit'"),
    "limit huge": (["history", "--limit", "1" + "0" * 30], "Invalid value for '--limit'"),
    "both owners": (["list", "--project", "2", "--user", "anna"], "not both"),
    "command": (["isue"], "No such command 'isue'."),
    "option": (["list", "--token", "x"], "No such option '--token'."),
}


@pytest.mark.parametrize(("arguments", "message"), MISUSED.values(), ids=MISUSED)
def test_misuse_is_one_line_and_status_2(run, arguments, message):
    line = assert_one_line(run(*arguments), 2)
    assert message in line
    assert "--help" in line
    assert run.stored() == ([], [])


def test_a_label_is_taken_once(run):
    key_id, _ = run.issue()
    before = run.stored()
    message = assert_one_line(run(*ISSUE), 1)
    assert message == "keymw: label: the project already has a key labelled 'deploy'.\n"
    assert run.stored() == before
    run.done("revoke", key_id)
    run.issue()


def test_a_revoked_key_cannot_be_rolled(run):
    key_id, _ = run.issue()
    run.done("revoke", key_id)
    before = run.stored()
    assert "has been revoked" in assert_one_line(run("roll", key_id), 1)
    assert "ends after the last date" in assert_one_line(
        run("roll", run.issue()[0], "--grace", "999999999d"), 1
    )
    assert len(run.stored()[1]) == len(before[1]) + 1


def test_ids_that_begin_with_a_dash(run):
    run.done("issue", "project", "--scope", "a:read", "--", "-5", "--deploy")
    (key,) = run.json("list", "--project", "-5")
    assert (key["project_id"], key["label"]) == ("-5", "--deploy")


def test_arguments_that_are_not_utf8(run, sqlite_url):
    for command in (["show", b"\xff"], ["issue", "project", "2", b"\xff", "--scope", "a:read"]):
        result = program(*command, KEYMW_DATABASE_URL=sqlite_url)
        assert_one_line(result, 1)
    assert run.stored() == ([], [])
