"""Runs command lines: most in this process, some as the program itself."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from keymw.cli import cli
from keymw.tokens import generate

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
    "update": ["update", "key_0", "--label", "x"],
    "revoke": ["revoke", "key_0"],
    "leaked": ["leaked"],
    "import": ["import"],
    "users deactivate": ["users", "deactivate", "anna"],
    "users activate": ["users", "activate", "anna"],
    "history": ["history"],
}
ISSUE = COMMANDS["issue project"]
PERSONAL = COMMANDS["issue personal"]
all_commands = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


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


def program(*arguments, stdin="", prefix=("-m", "keymw"), executable=sys.executable, **environment):
    """Run the program itself."""
    return subprocess.run(
        [executable, *prefix, *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env={**unbuffered_by_nobody(), **environment},
        timeout=60,
        check=False,
    )


def unbuffered_by_nobody():
    """Return the environment, without what would hide output that is lost at exit."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def assert_one_line(result, status):
    """Trouble is one line on standard error and nothing else."""
    code = result.exit_code if hasattr(result, "exit_code") else result.returncode
    assert (code, result.stdout) == (status, "")
    assert result.stderr.startswith("keymw: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    return result.stderr


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


def through_shell(line, *arguments, **environment):
    return program(
        *("-c", line, "sh", sys.executable, "-m", "keymw", *arguments),
        executable="sh",
        prefix=(),
        **environment,
    )
