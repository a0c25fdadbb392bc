"""The command line on real databases: most runs in this process, some as the program itself."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import keymw
from keymw import KeyService
from keymw.cli import cli
from keymw.cli_input import parse_grace, span
from keymw.cli_output import one_line
from keymw.tokens import generate
from servers import redis_server

TOKEN = re.compile(r"ph[sa]_[0-9A-Za-z]{38}")
#: A token as keymw makes them that no database knows.
UNKNOWN = generate("phs_")
NOWHERE = "postgresql://anna:hunter2@127.0.0.1:1/keymw"

#: Every command, in its shortest form.
COMMANDS = {
    "migrate": ["migrate"],
    "issue project": ["issue", "project", "2", "deploy", "--scope", "endpoint:read"],
    "issue personal": ["issue", "personal", "anna", "laptop", "--scope", "*"],
    "list": ["list"],
    "show": ["show", "key_0"],
    "verify": ["verify"],
    "roll": ["roll", "key_0"],
    "revoke": ["revoke", "key_0"],
    "users deactivate": ["users", "deactivate", "anna"],
    "users activate": ["users", "activate", "anna"],
    "history": ["history"],
}
ISSUE = COMMANDS["issue project"]
PERSONAL = COMMANDS["issue personal"]
all_commands = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Nothing of the caller's environment decides, and no file is left outside of the test."""
    for name in list(os.environ):
        if name.startswith("KEYMW_") or name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


class Cli:
    """Runs command lines in this process, on one database."""

    def __init__(self, database, redis=None):
        self.environment = {"KEYMW_DATABASE_URL": database, "KEYMW_REDIS_URL": redis}

    def __call__(self, *arguments, stdin=""):
        return CliRunner().invoke(
            cli,
            arguments,
            input=stdin,
            env=self.environment,
            catch_exceptions=False,
            prog_name="keymw",
        )

    def done(self, *arguments, stdin=""):
        result = self(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        return result

    def json(self, *arguments, stdin=""):
        result = self.done(*arguments, "--json", stdin=stdin)
        assert result.stderr == ""
        return json.loads(result.stdout)

    def issue(self, *arguments):
        """Return the id and the token of a new key."""
        issued = self.json(*(arguments or ISSUE))
        return issued["key"]["id"], issued["token"]

    def reason(self, token):
        """Return why a token is refused, None if it is not."""
        result = self("verify", "--json", stdin=token + "\n")
        verdict = json.loads(result.stdout)
        assert result.exit_code == (0 if verdict["granted"] else 1)
        return verdict.get("reason")

    def stored(self):
        return self.json("list", "--all"), self.json("history")


@pytest.fixture
def run(sqlite_url):
    """The command line on a migrated SQLite database."""
    run = Cli(sqlite_url)
    run.done("migrate")
    return run


def program(*arguments, stdin="", prefix=("-m", "keymw"), executable=sys.executable, **environment):
    """Run the program itself."""
    return subprocess.run(
        [executable, *prefix, *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def assert_one_line(result, status):
    """Trouble is one line on standard error and nothing else."""
    code = result.exit_code if hasattr(result, "exit_code") else result.returncode
    assert (code, result.stdout) == (status, "")
    assert result.stderr.startswith("keymw: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    return result.stderr


# ---- the whole life of keys -------------------------------------------------------------------


def says(text):
    return f"Redis is not configured: within 30 s every process {text}.\n"


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
    _, project_token = run.issue(*ISSUE, "--actor", "anna")
    left = run.done("users", "deactivate", "anna", "--actor", "bea")
    assert (left.stdout, left.stderr) == (says("refuses the user's keys"), "")
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
    urls = {"KEYMW_DATABASE_URL": postgres_url, "KEYMW_REDIS_URL": redis_url}

    def done(*arguments, stdin=""):
        result = program(*arguments, stdin=stdin, **urls)
        assert result.returncode == 0, result.stderr
        return result

    assert done("migrate").stderr == ""
    issued = done(*ISSUE)
    assert re.fullmatch(TOKEN.pattern + "\n", issued.stdout)
    key_id = json.loads(done("list", "--json").stdout)[0]["id"]
    granted = done("verify", stdin=issued.stdout)
    assert (granted.stdout.split("\n")[0].split(), granted.stderr) == (["granted", "yes"], "")

    rolled = done("roll", key_id, "--grace", "90m", "--json")
    document = json.loads(rolled.stdout)
    assert document["propagation"] == {"acknowledged": True, "bound_seconds": 30.0}
    assert rolled.stderr == ""
    done("verify", stdin=issued.stdout)
    ended = done("revoke", key_id)
    assert ended.stdout == "Acknowledged by Redis: within 30 s every process refuses it.\n"
    assert ended.stderr == ""
    for token in (issued.stdout, document["token"]):
        denied = program("verify", "--json", stdin=token, **urls)
        assert (denied.returncode, denied.stderr) == (1, "")
        assert json.loads(denied.stdout)["reason"] == "revoked_key"
    gone = done("users", "deactivate", "anna").stdout
    assert gone == "Acknowledged by Redis: within 30 s every process refuses the user's keys.\n"
    assert done("history").stdout.count("\n") == 6


def test_redis_down_at_revoke(sqlite_url):
    with redis_server() as redis:
        run = Cli(sqlite_url, redis)
        run.done("migrate")
        key_id, token = run.issue()
        other_id, _ = run.issue("issue", "project", "2", "other", "--scope", "endpoint:read")
        assert run.reason(token) is None
    urls = {"KEYMW_DATABASE_URL": sqlite_url, "KEYMW_REDIS_URL": redis, "KEYMW_MAX_AGE": "7.5"}
    result = program("revoke", key_id, **urls)
    assert result.returncode == 0
    assert result.stdout == "Redis could not be told: within 7.5 s every process refuses it.\n"
    assert result.stderr.startswith("keymw: Redis cannot be used")
    assert result.stderr.count("\n") == 1
    assert run.reason(token) == "revoked_key"
    document = json.loads(program("revoke", other_id, "--json", **urls).stdout)
    assert document["propagation"] == {"acknowledged": False, "bound_seconds": 7.5}


def test_expiry_is_shown(run):
    key_id, _ = run.issue(*ISSUE, "--expires-at", "2099-01-01T02:00:00+02:00")
    assert run.json("show", key_id)["expires_at"] == "2099-01-01T00:00:00+00:00"
    assert re.search(r"^ends +2099-01-01 00:00:00Z$", run.done("show", key_id).stdout, re.MULTILINE)


def test_an_expired_key_says_so(run, monkeypatch):
    from keymw import cli as module

    key_id, _ = run.issue(*ISSUE, "--expires-at", "2099-01-01T00:00:00Z")
    later = module.datetime(2100, 1, 1, tzinfo=module.UTC)
    monkeypatch.setattr(module, "_now", lambda: later)
    assert "expired 2099-01-01 00:00:00Z" in run.done("show", key_id).stdout


# ---- JSON -------------------------------------------------------------------------------------


def test_json_of_every_command(run):
    assert run.json("migrate") == {"migrated": True}
    issued = run.json(*ISSUE, "--actor", "bea")
    assert set(issued) == {"token", "key"}
    key = issued["key"]
    assert TOKEN.fullmatch(issued["token"])
    assert set(key) == {
        *("id", "kind", "label", "mask", "scopes", "version", "created_at", "project_id"),
        *("user_id", "projects", "organizations", "created_by", "expires_at", "revoked_at"),
        *("last_used_at", "last_rolled_at"),
    }
    assert (key["kind"], key["project_id"], key["user_id"]) == ("project_secret", "2", None)
    assert key["scopes"] == ["endpoint:read"]
    assert run.json("show", key["id"]) == key
    assert run.json("list") == [key]
    assert run.json("verify", stdin=issued["token"]) == {
        "granted": True,
        "kind": "project_secret",
        "key_id": key["id"],
        "project_id": "2",
        "label": "deploy",
        "scopes": ["endpoint:read"],
    }
    rolled = run.json("roll", key["id"])
    unheard = {"acknowledged": False, "bound_seconds": 30.0}
    assert rolled["propagation"] == unheard
    assert rolled["key"]["version"] == 2
    assert TOKEN.fullmatch(rolled["token"])
    revoked = {"key_id": key["id"], "revoked": True, "propagation": unheard}
    assert run.json("revoke", key["id"]) == revoked
    denied = run("verify", "--json", stdin=rolled["token"])
    assert denied.exit_code == 1
    assert json.loads(denied.stdout) == {
        "granted": False,
        "reason": "revoked_key",
        "detail": "The API key has been revoked.",
    }

    limits = ("--project", "2", "--project", "3", "--organization", "9")
    personal = run.json(*PERSONAL, *limits)
    assert personal["key"]["projects"] == ["2", "3"]
    assert personal["key"]["organizations"] == ["9"]
    who = run.json("verify", stdin=personal["token"])
    assert (who["kind"], who["user_id"], who["projects"]) == ("personal", "anna", ["2", "3"])
    gone = {"user_id": "anna", "active": False, "propagation": unheard}
    assert run.json("users", "deactivate", "anna") == gone
    assert run.json("users", "activate", "anna") == {**gone, "active": True}
    first = run.json("history")[-1]
    assert first["after"]["label"] == "deploy"
    assert {name: first[name] for name in ("seq", "action", "actor", "key_id")} == {
        "seq": 1,
        "action": "issued",
        "actor": "bea",
        "key_id": key["id"],
    }


def test_no_limit_on_a_personal_key_is_null(run):
    key = run.json(*PERSONAL)["key"]
    assert (key["projects"], key["organizations"]) == (None, None)


def leaves(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_takes_json_and_none_a_token():
    found = dict(leaves(cli))
    assert set(found) == set(COMMANDS)
    for command in found.values():
        names = {parameter.name for parameter in command.params}
        assert "as_json" in names
        assert not {name for name in names if "token" in name or "secret" in name}
        assert command.help
    (option,) = found["verify"].params
    assert option.name == "as_json"


# ---- tokens -----------------------------------------------------------------------------------


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
    assert message == "keymw: There is no key with the id 'phs_***'.\n"
    assert run.reason(token) is None


def in_terminal(*arguments, until=b"", answer=b"", **environment):
    """Run the program with a terminal for standard input and output; return what that shows."""
    ours, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "keymw", *arguments],
        stdin=its,
        stdout=its,
        stderr=subprocess.PIPE,
        start_new_session=True,  # no terminal but this one
        env={**os.environ, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(its)
        said = b""
        while until not in said:
            piece = os.read(process.stderr.fileno(), 1000)
            assert piece, said
            said += piece
        os.write(ours, answer)
        shown = b""
        while piece := _read_terminal(ours):
            shown += piece
        said += process.stderr.read()
    os.close(ours)
    return process.returncode, shown.decode(), said.decode()


def _read_terminal(descriptor):
    try:
        return os.read(descriptor, 10_000)
    except OSError:  # Linux says so when the other side has closed
        return b""


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


# ---- what it looks like -----------------------------------------------------------------------


def test_tables_are_plain_and_whole_when_piped(run, sqlite_url):
    label = "a label of forty characters, or so it is"
    run.issue("issue", "project", "2", label, "--scope", "a:read", "--scope", "b:write")
    environment = {
        "KEYMW_DATABASE_URL": sqlite_url,
        "FORCE_COLOR": "1",
        "COLUMNS": "40",
        "TERM": "xterm-256color",
    }
    for command in (["list"], ["history"], [*PERSONAL]):
        result = program(*command, **environment)
        assert result.returncode == 0
        assert "\x1b" not in result.stdout + result.stderr
        assert not re.search(r" $", result.stdout + result.stderr, re.MULTILINE)
    _, _, row = program("list", "--project", "2", **environment).stdout.splitlines()
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


# ---- bad input --------------------------------------------------------------------------------

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
    "unknown key": (["show", "key_0"], "There is no key with the id 'key_0'."),
    "roll unknown": (["roll", "key_0"], "There is no key with the id 'key_0'."),
    "revoke unknown": (["revoke", "key_0"], "There is no key with the id 'key_0'."),
    "dashed id": (["show", "--", "-5"], "There is no key with the id '-5'."),
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


# ---- configuration and outages ----------------------------------------------------------------


@all_commands
def test_every_command_without_tables(command, database_url):
    result = Cli(database_url)(*command, stdin=UNKNOWN)
    if command == ["migrate"]:
        assert result.exit_code == 0
    else:
        assert "keymw migrate" in assert_one_line(result, 1)


@all_commands
def test_every_command_without_a_database(command):
    result = program(*command, stdin=UNKNOWN, KEYMW_DATABASE_URL=NOWHERE)
    assert result.returncode == 1
    assert result.stderr.startswith("keymw: ")
    assert result.stderr.count("\n") == 1
    assert "Connection refused" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    if command == ["verify"]:
        assert "temporarily_unavailable" in result.stdout
    else:
        assert result.stdout == ""


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
    run.environment["KEYMW_MAX_AGE"] = "12"
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


# ---- output that cannot be written, input that is not there ------------------------------------


def through_shell(line, *arguments, **environment):
    return program(
        *("-c", line, "sh", sys.executable, "-m", "keymw", *arguments),
        executable="sh",
        prefix=(),
        **environment,
    )


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


# ---- trouble is one line ----------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "status"), [(["list"], 0), (["show", "key_0"], 1)])
def test_the_service_is_closed_whatever_happens(run, monkeypatch, arguments, status):
    made, closed = [], []
    make, close = KeyService.__init__, KeyService.close

    def counted_make(self, *arguments, **options):
        make(self, *arguments, **options)
        made.append(self)

    def counted_close(self):
        closed.append(self)
        close(self)

    monkeypatch.setattr(KeyService, "__init__", counted_make)
    monkeypatch.setattr(KeyService, "close", counted_close)
    assert run(*arguments).exit_code == status
    assert len(made) == 1
    assert closed == made


def test_a_defect_shows_no_secret(run, monkeypatch):
    def fail(self, **_):
        raise RuntimeError(f"{UNKNOWN} at {NOWHERE}")

    monkeypatch.setattr(KeyService, "list", fail)
    message = assert_one_line(run("list"), 1)
    assert re.fullmatch(r"keymw: a defect in keymw: RuntimeError at test_cli\.py:\d+\.\n", message)


def test_an_interrupt_is_no_traceback(run, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(KeyService, "migrate", stop)
    result = run("migrate")
    assert result.exit_code == 1
    assert result.stderr.strip() == "keymw: stopped."


def test_logs_and_warnings_are_single_lines():
    code = """
import logging, warnings
from keymw.cli_output import set_up
set_up()
logging.getLogger("keymw").warning("keymw: one\\nof %s", "two")
logging.getLogger("keymw").info("not shown")
try:
    raise ValueError("hidden")
except ValueError:
    logging.getLogger("other").exception("failed")
warnings.warn("three\\nof three")
"""
    result = program(prefix=("-c", code))
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "keymw: one of two\nkeymw: failed\nkeymw: three of three\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n  b\r\nc", "a b c"),
        ("keymw: said once", "said once"),
        (f"token {UNKNOWN}.", "token phs_***."),
        ("digest " + "0f" * 32, "digest ***"),
        (NOWHERE, "postgresql://anna:***@127.0.0.1:1/keymw"),
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgresql://anna@db/keymw", "postgresql://anna@db/keymw"),
        ("red \x1b[31m, dead \u202e", r"red \x1b[31m, dead \u202e"),
    ],
)
def test_one_line(text, line):
    assert one_line(text) == "keymw: " + line


@given(st.text())
def test_one_line_of_anything(text):
    line = one_line(text)
    assert line.startswith("keymw: ")
    assert line.isprintable()


@pytest.mark.parametrize("text", ["45s", "90m", "24h", "7d", "90s", "25h"])
def test_durations(text):
    assert parse_grace(span(parse_grace(text))) == parse_grace(text)


def test_duration_units():
    assert [parse_grace(text).total_seconds() for text in ("1s", "1m", "1h", "1d")] == [
        1,
        60,
        3600,
        86_400,
    ]
