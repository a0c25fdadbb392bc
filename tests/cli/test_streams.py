"""Output that cannot be written, input that is not there."""

from __future__ import annotations

import pytest

from cli.driving import ISSUE, PERSONAL, assert_one_line, through_shell


@pytest.mark.parametrize("flag", [[], ["--json"]])
@pytest.mark.parametrize("command", ["issue", "roll"])
def test_a_token_that_cannot_be_written_is_not_lost_in_silence(run, sqlite_url, command, flag):
    key_id, _ = run.issue(*PERSONAL)
    arguments = ISSUE if command == "issue" else ["roll", key_id]
    result = through_shell('"$@" >/dev/full', *arguments, *flag, KEYMW_DATABASE_URL=sqlite_url)
    lost = run.json("list")[-1]["id"]
    message = assert_one_line(result, 1)
    assert message == (
        f"keymw: The token of {lost} is lost, because it could not be written "
        "(No space left on device): roll the key.\n"
    )


def test_tables_that_cannot_be_written(run, sqlite_url):
    run.issue()
    result = through_shell('"$@" >/dev/full', "list", KEYMW_DATABASE_URL=sqlite_url)
    assert assert_one_line(result, 1) == "keymw: No space left on device.\n"


def test_a_reader_that_goes_away(run, sqlite_url):
    run.issue()
    result = through_shell('"$@" | true', "list", KEYMW_DATABASE_URL=sqlite_url)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_closed_streams(run, sqlite_url):
    result = through_shell('"$@" >&-', *ISSUE, KEYMW_DATABASE_URL=sqlite_url)
    assert "standard output is closed" in assert_one_line(result, 1)
    assert run.stored() == ([], [])
    result = through_shell('"$@" <&-', "verify", KEYMW_DATABASE_URL=sqlite_url)
    assert "standard input is empty" in assert_one_line(result, 1)
