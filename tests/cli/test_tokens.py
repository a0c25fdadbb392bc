"""Tokens: read from standard input or a prompt, shown once, repeated nowhere."""

from __future__ import annotations

import re

import pytest

from cli.driving import ISSUE, PERSONAL, UNKNOWN, Cli, assert_one_line, in_terminal, program


def test_standard_output_is_the_token_and_nothing_else(sqlite_url):
    Cli(sqlite_url).done("migrate")
    for command, prefix in ((ISSUE, "phs_"), (PERSONAL, "pha_")):
        result = program(*command, KEYMW_DATABASE_URL=sqlite_url)
        assert result.returncode == 0
        assert re.fullmatch(prefix + "[0-9A-Za-z]{38}\n", result.stdout)
        assert result.stdout.strip() not in result.stderr


@pytest.mark.parametrize("frame", ["{}", "{}\n", "{}\r\n", "  {}\t\n\n"])
def test_verify_reads_standard_input(run, frame):
    _, token = run.issue()
    assert run.json("verify", stdin=frame.format(token))["granted"] is True


@pytest.mark.parametrize(
    "rubbish",
    [
        b"garbage\n",
        UNKNOWN.encode(),
        b"\xff\xfe\x00",
        b"phs_" + b"x" * 1_000_000,
        UNKNOWN.encode() + b"\n" + UNKNOWN.encode(),
        UNKNOWN.encode() + b"\xc2\xa0",
    ],
    ids=["garbage", "unknown", "bytes", "long", "two", "nbsp"],
)
def test_verify_denies_rubbish(run, rubbish):
    result = run("verify", stdin=rubbish)
    assert result.exit_code == 1
    assert result.stdout.startswith("granted")
    assert "The API key is invalid." in result.stdout
    assert UNKNOWN not in result.output


def test_verify_tells_an_outage_from_a_bad_token(run, tmp_path):
    _, token = run.issue()
    assert run("verify", stdin=token).exit_code == 0
    database = next(tmp_path.glob("*.db"))
    for path in tmp_path.glob("*.db*"):
        path.unlink()
    database.mkdir()
    result = run("verify", "--json", stdin=token)
    assert result.exit_code == 3
    assert "temporarily_unavailable" in result.stdout


def test_verify_needs_something_to_check(run):
    assert "standard input is empty" in assert_one_line(run("verify", stdin=" \n"), 1)


def test_verify_takes_no_argument(run):
    _, token = run.issue()
    message = assert_one_line(run("verify", token), 2)
    assert token not in message
    assert "unexpected extra argument" in message


@pytest.mark.parametrize("command", ["show", "roll", "revoke"])
def test_a_token_in_the_place_of_an_id_is_not_repeated(run, command):
    _, token = run.issue()
    message = assert_one_line(run(command, token), 1)
    assert message == "keymw: There is no key with this id: `keymw list` shows those there are.\n"
    assert run.reason(token) is None


def test_verify_asks_without_showing_the_answer(run, sqlite_url):
    _, token = run.issue()
    status, shown, said = in_terminal(
        "verify",
        until=b"Token:",
        answer=token.encode() + b"\n",
        KEYMW_DATABASE_URL=sqlite_url,
    )
    assert status == 0, said
    assert re.search(r"granted +yes", shown)
    assert token not in shown + said
