"""What it looks like: in a terminal, in a pipe, in help."""

from __future__ import annotations

import re

import keymw
from cli.driving import COMMANDS, PERSONAL, in_terminal, program


def test_tables_are_plain_and_whole_when_piped(run, sqlite_url):
    label = "a label of forty characters, or so it is"
    run.issue("issue", "project", "2", label, "--scope", "a:read", "--scope", "b:write")
    environment = {
        "KEYMW_DATABASE_URL": sqlite_url,
        "FORCE_COLOR": "1",
        "COLUMNS": "40",
        "TERM": "xterm-256color",
    }
    for command in (["history"], PERSONAL, ["list", "--project", "2"]):
        result = program(*command, **environment)
        assert result.returncode == 0
        assert "\x1b" not in result.stdout + result.stderr
        assert not re.search(r" $", result.stdout + result.stderr, re.MULTILINE)
    _, _, row = result.stdout.splitlines()
    assert label in row
    assert "a:read, b:write" in row


def test_tables_on_a_terminal_fit_it_and_keep_ids_whole(run, sqlite_url):
    key_id, _ = run.issue("issue", "project", "2", "x" * 40, "--scope", "endpoint:read")
    status, shown, _ = in_terminal("list", COLUMNS="70", KEYMW_DATABASE_URL=sqlite_url)
    assert status == 0
    assert "\x1b[1m" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert key_id in plain
    assert max(map(len, plain.splitlines())) <= 70


def test_labels_are_not_markup(run):
    run.issue("issue", "project", "2", "[red]:smile:[/red]", "--scope", "a:read")
    assert "[red]:smile:[/red]" in run.done("list").stdout


def test_output_that_cannot_hold_a_label(run, sqlite_url):
    run.issue("issue", "project", "2", "ключ", "--scope", "a:read")
    environment = {"PYTHONIOENCODING": "latin-1", "KEYMW_DATABASE_URL": sqlite_url}
    result = program("list", **environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert r"\u043a\u043b\u044e\u0447" in result.stdout


def test_version_and_help(run):
    assert run.done("--version").stdout == f"keymw {keymw.__version__}\n"
    bare = run()
    assert bare.exit_code == 2
    assert bare.stderr == run.done("--help").stdout
    for command in COMMANDS.values():
        depth = 2 if command[0] in ("issue", "users") else 1
        assert "--json" in run.done(*command[:depth], "--help").stdout


def test_shell_completion():
    environment = {"_KEYMW_COMPLETE": "bash_complete", "COMP_WORDS": "keymw iss", "COMP_CWORD": "1"}
    assert program(**environment).stdout == "plain,issue\n"
