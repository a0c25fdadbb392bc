"""Where databases, Redis and settings come from, and what is said of wrong ones."""

from __future__ import annotations

import sys

import pytest

from cli.driving import ISSUE, NOWHERE, UNKNOWN, Cli, all_commands, assert_one_line, program


@all_commands
def test_every_command_without_tables(command, database_url):
    result = Cli(database_url)(*command, stdin=UNKNOWN)
    if command == ["migrate"]:
        assert result.exit_code == 0
    else:
        assert "keymw migrate" in assert_one_line(result, 1)


@all_commands
def test_every_command_without_a_database(command, caplog):
    if command == ["verify"]:  # it answers all the same: its one line is of the program's log
        result = program(*command, stdin=UNKNOWN, KEYMW_DATABASE_URL=NOWHERE)
        assert result.returncode == 3
        assert "temporarily_unavailable" in result.stdout
        assert result.stderr.startswith("keymw: ")
        assert result.stderr.count("\n") == 1
    else:
        result = Cli(NOWHERE)(*command, stdin=UNKNOWN)
        assert_one_line(result, 1)
        assert caplog.records == []  # for the program would write each as a second line
    assert "Connection refused" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://anna:hunter2@db/keymw", "postgresql+asyncpg://anna:hunter2@db/k"],
)
def test_wrong_database_url(url):
    message = assert_one_line(Cli(None)("--database", url, "list"), 1)
    assert message.startswith("keymw: database: ")
    assert "sqlite:///file.db" in message
    assert "hunter2" not in message


def test_wrong_redis_url(sqlite_url):
    message = assert_one_line(Cli(sqlite_url, "http://:hunter2@cache")("migrate"), 1)
    assert message.startswith("keymw: redis: not a Redis URL")
    assert "hunter2" not in message


def test_a_folder_that_is_not_there():
    message = assert_one_line(Cli("sqlite:///no/such/folder.db")("migrate"), 1)
    assert message.startswith("keymw: The database cannot answer: unable to open database file")


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEYMW_MAX_AGE", "soon"), ("KEYMW_L1_SIZE", "-1"), ("KEYMW_PERSONAL_PREFIXES", "p s")],
)
def test_wrong_setting(run, name, value):
    run.environment[name] = value
    message = assert_one_line(run(*ISSUE), 1)
    assert name.removeprefix("KEYMW_") in message.upper()
    del run.environment[name]
    assert run.stored() == ([], [])


def test_settings_come_from_the_environment(run):
    run.environment["KEYMW_PROJECT_SECRET_PREFIXES"] = "acme_,phs_"
    run.environment["KEYMW_UNACKNOWLEDGED_BOUND"] = "12"
    key_id, token = run.issue()
    assert token.startswith("acme_")
    assert "within 12 s" in run.done("revoke", key_id).stdout


def test_the_database_by_default_and_by_option(tmp_path):
    run = Cli(None)
    run.done("migrate")
    assert (tmp_path / "keymw.db").exists()
    run.done("--database", "sqlite:///other.db", "migrate")
    run.done("--database", "sqlite:///other.db", *ISSUE)
    assert run.done("list").stdout == "No keys.\n"
    run.environment["KEYMW_DATABASE_URL"] = "sqlite:///other.db"
    assert len(run.json("list")) == 1


def test_redis_by_option(run, redis_url):
    key_id, _ = run.issue()
    ended = run.done("--redis", redis_url, "revoke", key_id)
    assert ended.stdout.startswith("Acknowledged by Redis: ")


def test_missing_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = assert_one_line(Cli(NOWHERE)("list"), 1)
    assert 'pip install "keymw[postgres]"' in message


@pytest.mark.parametrize("module", ["click", "rich"])
def test_missing_extra(module):
    code = f"import sys; sys.modules[{module!r}] = None; from keymw.__main__ import main; main()"
    message = assert_one_line(program(prefix=("-c", code)), 1)
    assert module in message
    assert 'pip install "keymw[cli]"' in message


def test_a_missing_module_of_keymws_own_is_not_blamed_on_the_extra(monkeypatch):
    from keymw.__main__ import main

    monkeypatch.setitem(sys.modules, "keymw.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"keymw\.cli"):
        main()
