"""`make demo` on real servers: what it shows, what it leaves behind, and that it can fail."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from string import Template

import httpx
import pytest
from click.testing import CliRunner

import demo
from conftest import eventually, unmeasured
from demo_stage.client import Answer, Held, Step
from demo_stage.screen import Screen
from keymw import Propagation

ROOT = Path(__file__).parents[1]
DEMO = [sys.executable, str(ROOT / "examples" / "demo.py")]
ROW = re.compile(r"^ ?(\d+) (.+?)  +([12])  +(\d{3})  +(\d{3})(.*?)  +(store|L1|L2|-)  +\d+\.\d$")
HELD = re.compile(r"refused by worker 1 after ([\d.]+) ms, by worker 2 after ([\d.]+) ms")
#: The same, listening to Ctrl-C even if the tests are a shell's job in the background.
LISTENING = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
del sys.argv[0]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ATTENTIVE_DEMO = [sys.executable, "-c", LISTENING, DEMO[1]]

#: What is sent, to which worker, what is expected, where the key comes from.
STORY = [
    ("project key, on its route", "1", "200", {"store"}),
    ("the same, in the second worker", "2", "200", {"L2"}),
    ("the same, once more", "1", "200", {"L1"}),
    ("project key, where only people may go", "1", "403", {"L1"}),
    ("project key without the scope", "1", "403", {"store"}),
    ("project key, on another project", "1", "403", {"L1"}),
    ("garbage: last letter changed", "1", "401", {"-"}),
    ("no key", "1", "401", {"-"}),
    ("personal key, where people may go", "1", "200", {"store"}),
    ("the employee's personal key", "2", "401", {"L1", "store"}),
    ("the project key they made", "2", "200", {"L1"}),
    ("the old secret", "2", "401", {"L1", "store"}),
    ("the new secret", "2", "200", {"store"}),
    ("the revoked key", "2", "401", {"L1", "store"}),
]


@pytest.fixture
def environment(tmp_path):
    """An environment in which all that the demo leaves behind can be seen."""
    folder = tmp_path / "t"
    folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("KEYMW_")}
    return kept | {"TMPDIR": str(folder), "LC_ALL": "C"}


def without_redis(environment, tmp_path):
    """Hide every program but the ones that the demo cannot do without."""
    programs = tmp_path / "bin"
    programs.mkdir()
    return environment | {"PATH": str(programs)}


def left_behind(environment):
    """Return files and processes that are still there."""
    folder = environment["TMPDIR"]
    files = list(Path(folder).iterdir())
    return files, [process.name for process in processes(folder)]


def processes(folder):
    """Return the processes of a demo, as entries of /proc."""
    mark = f"TMPDIR={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(process)
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
    return found


def rows(output):
    return [match.groups() for match in map(ROW.match, output.splitlines()) if match]


def told(output):
    """Return each row's words, worker, expectation and source."""
    return [(words, worker, want, source) for _, words, worker, want, _, _, source in rows(output)]


def assert_story(output, second_worker):
    expected = STORY.copy()
    expected[1] = (*STORY[1][:3], {second_worker})
    found = told(output)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    for row, (*_, sources) in zip(found, expected, strict=True):
        assert row[3] in sources, row
    assert [(number, got) for number, _, _, _, got, _, _ in rows(output)] == [
        (str(number), want) for number, (_, _, want, _) in enumerate(STORY, 1)
    ]
    held = HELD.findall(output)
    assert len(held) == 3
    assert all(0 < float(time) < 30_000 for pair in held for time in pair)
    assert re.search(r"^worker 1( +\d+){9}$", output, re.MULTILINE)
    assert re.search(r"^worker 2( +\d+){9}$", output, re.MULTILINE)
    assert "All 14 requests were answered as they should be." in output
    assert output.isascii()


def play(environment):
    result = subprocess.run(
        DEMO, capture_output=True, env=environment, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert left_behind(environment) == ([], [])
    return result.stdout


def test_with_redis(environment):
    output = play(environment)
    assert_story(output, second_worker="L2")
    version = subprocess.run(
        ["redis-server", "--version"], capture_output=True, text=True, check=True
    ).stdout
    number = re.search(r"v=(\S+)", version)[1]
    program = shutil.which("redis-server")
    assert f"Redis      {program} {number}, on a private Unix socket" in output
    table = [line for line in output.splitlines() if ROW.match(line) or "GET /" in line]
    assert max(map(len, table)) <= 100


def test_without_redis(environment, tmp_path):
    output = play(without_redis(environment, tmp_path))
    assert_story(output, second_worker="store")
    assert "Redis      none: no redis-server or valkey-server is installed" in output
    assert "KEYMW_REDIS_URL" not in output


def test_a_redis_that_does_not_start_is_shown_and_done_without(environment, tmp_path):
    hidden = without_redis(environment, tmp_path)
    program = tmp_path / "bin" / "redis-server"
    program.write_text(f"#!{sys.executable}\nprint('Cannot.')\nraise SystemExit(1)\n")
    program.chmod(0o755)
    output = play(hidden)
    assert_story(output, second_worker="store")
    assert f"none: {program} of unknown version did not start" in output
    assert "Cannot." in output


def test_an_environment_for_another_keymw_changes_nothing(environment, tmp_path):
    foreign = {"KEYMW_DATABASE_URL": f"sqlite:///{tmp_path}/no/such.db", "KEYMW_MAX_AGE": "no"}
    play(environment | foreign | {"http_proxy": "http://127.0.0.1:1"})


# ---- the demo that is wrong says so -----------------------------------------------------------


SABOTAGE = {
    "status": ({"status": 200}, "expected 200"),
    "source": ({"sources": ("L2",)}, "with the key from L2"),
    "detail": ({"detail": "Come in."}, "'Come in.'"),
}


@pytest.mark.parametrize(("change", "said"), SABOTAGE.values(), ids=SABOTAGE)
def test_a_wrong_row_is_named_and_fails(monkeypatch, change, said):
    real, handler = demo.refusals, signal.getsignal(signal.SIGINT)

    def sabotaged(tokens):
        steps = real(tokens)
        return [replace(steps[0], **change), *steps[1:]]

    monkeypatch.setattr(demo, "refusals", sabotaged)
    result = CliRunner().invoke(demo.main, [])
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("WRONG: ")]
    assert line.startswith("WRONG: row 4 (project key, where only people may go): expected ")
    assert said in line
    assert result.stdout.count("<-- WRONG") == 1
    assert "All 14" not in result.stdout
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_worker_that_does_not_start_is_shown(environment, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "uvicorn.py").write_text("__version__ = '0'\n")
    result = subprocess.run(
        DEMO,
        capture_output=True,
        env=environment | {"PYTHONPATH": str(broken)},
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (1, "")
    assert "WRONG: RuntimeError: worker 1 did not start." in result.stdout
    assert "has no attribute 'Config'" in result.stdout
    assert left_behind(environment) == ([], [])


def test_a_change_that_holds_too_late_is_wrong():
    screen = Screen()
    held = Held(1.0, (2.0, 1001.0), Propagation(acknowledged=True, bound=timedelta(seconds=1)))
    screen.held("revoke(key)", held)
    assert screen.wrong == ["revoke(key) was to hold within 1 s"]


def test_tokens_are_not_in_a_row_of_the_story():
    step = Step("words", 1, "/", "phs_secret", 200, ("L1",))
    assert "secret" not in repr(step)
    assert Answer(200, "", "", "L1", 1.0).fits(step)


# ---- SERVE=1 ----------------------------------------------------------------------------------


@contextmanager
def serving(environment):
    """Run the demo until it serves; gives the process and all that it has said."""
    with subprocess.Popen(
        [*ATTENTIVE_DEMO, "--serve"],
        env=unmeasured(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if line.startswith("Serving until Ctrl-C."):
                    break
            yield process, "".join(said)
        finally:
            if process.poll() is None:
                process.terminate()


def status(variables, command):
    """Do what a printed `curl` line does; return the status of the answer."""
    program, *arguments = shlex.split(Template(command).substitute(variables))
    url = arguments.pop()
    assert program == "curl"
    assert arguments[0] == "-i"
    headers = dict(header.split(": ", 1) for header in arguments[2:])
    assert arguments[1:2] == (["-H"] if headers else [])
    return httpx.get(url, headers=headers, trust_env=False).status_code


def test_serves_what_it_prints_until_ctrl_c(environment):
    with serving(environment) as (process, said):
        variables = dict(re.findall(r"\b(W1|W2|PROJECT|PERSONAL)=(\S+)", said))
        assert set(variables) == {"W1", "W2", "PROJECT", "PERSONAL"}, said
        curls = re.findall(r"^(curl .*?) +# (\d+).*$", said, re.MULTILINE)
        assert [int(expected) for _, expected in curls] == [200, 403, 200, 401]
        for command, expected in curls:
            assert status(variables, command) == int(expected)

        (line,) = re.findall(r"^KEYMW_DATABASE_URL=.* revoke key_\w+$", said, re.MULTILINE)
        words = shlex.split(line)
        settings = dict(word.split("=", 1) for word in words if word.startswith("KEYMW_"))
        assert set(settings) == {"KEYMW_DATABASE_URL", "KEYMW_REDIS_URL"}
        subprocess.run(words[len(settings) :], env=os.environ | settings, check=True, timeout=30)
        eventually(lambda: status(variables, curls[0][0]) == 401)

        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert (process.wait(30), rest) == (0, "Stopped.\n")
    assert left_behind(environment) == ([], [])


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["TERM", "HUP"]
)
def test_other_ends_clean_up_too(environment, number, expected):
    with serving(environment) as (process, _):
        process.send_signal(number)
        assert process.wait(30) == expected
        assert "Traceback" not in process.stdout.read()
    assert left_behind(environment) == ([], [])


def test_ctrl_c_in_the_middle(environment):
    with subprocess.Popen(
        ATTENTIVE_DEMO,
        env=unmeasured(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout.readline().startswith("keymw ")
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait(30) == 130
    assert "Traceback" not in said
    assert left_behind(environment) == ([], [])


def test_a_worker_that_dies_while_serving_ends_the_demo(environment):
    with serving(environment) as (process, _):
        workers = [
            int(found.name)
            for found in processes(environment["TMPDIR"])
            if b"demo_stage.worker" in (found / "cmdline").read_bytes()
        ]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        said = process.stdout.read()
        assert process.wait(30) == 1
    assert re.search(r"WRONG: RuntimeError: worker [12] has ended with status -9\.", said)
    assert left_behind(environment) == ([], [])
