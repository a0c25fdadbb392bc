"""`keymw import`: files and streams in, a report out."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from wsgiref.util import setup_testing_defaults

import psycopg
import pytest

from cli.driving import ISSUE, Cli, assert_one_line, program, through_shell
from conftest import eventually, unmeasured
from keymw import KeyService
from keymw.tokens import digest, generate, mask
from keymw.wsgi import KeyAuthMiddleware

HEADER = "kind,project,label,digest,scopes,mask"
WITHIN = "Redis is not configured: within 5 s every process takes them.\n"


def hashed(token):
    return f"sha256${digest(token.encode()).hex()}"


def csv_row(label, token):
    return f'project_secret,2,{label},{hashed(token)},"endpoint:read, flag:read",{mask(token)}'


def json_row(label, token):
    return json.dumps(
        {
            "kind": "project_secret",
            "project_id": "2",
            "label": label,
            "digest": hashed(token),
            "scopes": ["endpoint:read", "flag:read"],
            "mask": mask(token),
        }
    )


def csv_file(*rows):
    return "\n".join([HEADER, *rows, ""])


def test_a_file_of_keys(database_url, tmp_path):
    run = Cli(database_url)
    run.done("migrate")
    tokens = [generate("phs_"), generate("phs_")]
    file = tmp_path / "keys.csv"
    file.write_text(csv_file(csv_row("old", tokens[0]), csv_row("older", tokens[1])))
    result = run.done("import", str(file), "--actor", "bea")
    assert result.stdout == f"2 keys stored; 0 there already; 0 rejected.\n{WITHIN}"
    assert result.stderr == ""
    assert [run.reason(token) for token in tokens] == [None, None]
    keys, log = run.stored()
    assert {key["label"]: key["mask"] for key in keys} == {
        "old": mask(tokens[0]),
        "older": mask(tokens[1]),
    }
    assert [(event["action"], event["actor"]) for event in log] == [("imported", "bea")] * 2
    again = run.done("import", str(file))
    assert again.stdout == "0 keys stored; 2 there already; 0 rejected.\n"
    assert run.stored() == (keys, log)


@pytest.mark.parametrize("mark", ["", "\ufeff", "\n\n"])
@pytest.mark.parametrize("arguments", [["import"], ["import", "-"]])
def test_standard_input_says_what_it_is(run, arguments, mark):
    rows = [("a", generate("phs_")), ("b", generate("phs_"))]
    said = "1 key stored; 0 there already; 0 rejected.\n"
    text = mark + csv_file(csv_row(*rows[0]))
    assert run.done(*arguments, stdin=text).stdout == said + WITHIN
    assert run.done(*arguments, stdin=mark + json_row(*rows[1])).stdout == said + WITHIN
    assert [run.reason(token) for _, token in rows] == [None, None]


@pytest.mark.parametrize("name", ["keys.jsonl", "keys.NDJSON", "keys", "keys.txt"])
def test_a_files_format(run, tmp_path, name):
    file = tmp_path / name
    file.write_text(json_row("a", generate("phs_")) + "\n")
    assert "1 key stored" in run.done("import", str(file)).stdout
    result = run("import", str(file), "--format", "csv")
    assert (result.exit_code, result.stdout.count("1 rejected")) == (1, 1)


def test_rejected_rows_are_reported_and_nothing_is_stored(run):
    good, taken = generate("phs_"), generate("phs_")
    run.done(*ISSUE)
    text = csv_file(csv_row("new", good), csv_row("deploy", taken), "project_secret,2", "")
    result = run("import", stdin=text)
    assert result.exit_code == 1
    assert result.stdout == (
        "Nothing was stored, of 1 key that could be; 0 there already; 2 rejected.\n"
    )
    assert result.stderr.splitlines() == [
        "keymw: line 3: label: the project already has a key with this label.",
        "keymw: line 4: it has 2 cells, and the header 6.",
    ]
    assert run.reason(good) == "invalid_key"
    result = run("import", "--partial", stdin=text)
    assert result.exit_code == 1
    assert result.stdout == f"1 key stored; 0 there already; 2 rejected.\n{WITHIN}"
    assert run.reason(good) is None


def test_a_dry_run_says_what_would_be_done(run):
    text = f"{json_row('a', generate('phs_'))}\n[]\n"
    for flags, said in (
        ([], "Nothing would be stored, of 1 key that could be"),
        (["--partial"], "1 key would be stored"),
    ):
        result = run("import", "--dry-run", *flags, stdin=text)
        assert result.exit_code == 1
        assert result.stdout == f"{said}; 0 there already; 1 rejected.\n"
    assert run.stored() == ([], [])


def test_a_dry_run(run):
    token = generate("phs_")
    result = run.done("import", "--dry-run", stdin=json_row("a", token))
    assert result.stdout == "1 key would be stored; 0 there already; 0 rejected.\n"
    assert run.stored() == ([], [])


def test_what_is_too_much_to_show_is_counted(run):
    result = run("import", stdin="{}\n" * 250)
    lines = result.stderr.splitlines()
    assert len(lines) == 101
    assert lines[99].startswith("keymw: line 100: it lacks kind, label, digest, scopes")
    assert lines[100] == "keymw: and 150 more."


def test_json(run):
    token = generate("phs_")
    row = json_row("a", token)
    assert run.json("import", stdin=row) == {
        "stored": True,
        "new": 1,
        "known": 0,
        "rejected": 0,
        "rejections": [],
        "propagation": {"acknowledged": False, "bound_seconds": 5.0},
    }
    result = run("import", "--json", stdin=f"{row}\n[]\n")
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout) == {
        "stored": False,
        "new": 0,
        "known": 1,
        "rejected": 1,
        "rejections": [{"line": 2, "field": None, "reason": "it is no JSON object."}],
        "propagation": None,
    }


def test_secrets_in_the_wrong_place_are_not_shown(run):
    token = generate("phs_")
    result = run("import", stdin=f"{token}\n{token},{token}\n")
    assert result.exit_code == 1
    assert token[4:] not in result.stdout + result.stderr
    text = csv_file(f"project_secret,2,a,{token},endpoint:read,", f"{token},2,a,x,{token},")
    result = run("import", "--json", stdin=text)
    assert result.exit_code == 1
    assert token[4:] not in result.stdout + result.stderr


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_a_report_that_cannot_be_written(run, sqlite_url, tmp_path, flag):
    token = generate("phs_")
    file = tmp_path / "keys.csv"
    file.write_text(csv_file(csv_row("a", token)))
    arguments = ["import", str(file), *flag]
    result = through_shell('"$@" >/dev/full', *arguments, KEYMW_DATABASE_URL=sqlite_url)
    assert assert_one_line(result, 1) == (
        "keymw: 1 key stored, but the report could not be written (No space left on device).\n"
    )
    result = through_shell('"$@" | true', *arguments, KEYMW_DATABASE_URL=sqlite_url)
    assert (result.stdout, result.stderr) == ("", "")
    assert run.reason(token) is None


def test_closed_streams(run, sqlite_url, tmp_path):
    token = generate("phs_")
    file = tmp_path / "keys.csv"
    file.write_text(csv_file(csv_row("a", token), "torn"))
    result = through_shell('"$@" <&-', "import", KEYMW_DATABASE_URL=sqlite_url)
    assert "standard input is closed: name a file" in assert_one_line(result, 1)
    arguments = ["import", str(file), "--partial"]
    result = through_shell('"$@" 2>&-', *arguments, KEYMW_DATABASE_URL=sqlite_url)
    assert (result.returncode, result.stdout) == (
        1,
        f"1 key stored; 0 there already; 1 rejected.\n{WITHIN}",
    )
    assert run.reason(token) is None


STOPPED = (
    "keymw: stopped: none of the keys was stored, or all if it was at the very end: repeat it.\n"
)


@contextlib.contextmanager
def importing(url, *arguments):
    with subprocess.Popen(
        [sys.executable, "-m", "keymw", "import", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=unmeasured({**os.environ, "KEYMW_DATABASE_URL": url}),
    ) as process:
        yield process


def assert_stopped(process):
    process.send_signal(signal.SIGINT)
    # Not `communicate`, which would close its standard input.
    assert process.wait(30) == 1
    assert (process.stdout.read(), process.stderr.read()) == ("", STOPPED)


def test_it_is_stopped_while_it_reads(database_url):
    run = Cli(database_url)
    run.done("migrate")
    text = csv_file(*[csv_row(f"label {number}", generate("phs_")) for number in range(2500)])
    with importing(database_url) as process:
        # More than a pipe holds: it has read most of it when all is written.
        process.stdin.write(text)
        process.stdin.flush()
        assert_stopped(process)
    assert run.stored() == ([], [])


def test_it_is_stopped_while_it_waits_for_others(postgres_url, tmp_path):
    run = Cli(postgres_url)
    run.done("migrate")
    file = tmp_path / "keys.csv"
    file.write_text(csv_file(csv_row("a", generate("phs_"))))
    waiting = (
        "SELECT wait_event_type FROM pg_stat_activity"
        " WHERE application_name = 'keymw' AND query LIKE 'UPDATE keymw_counter%'"
    )
    with psycopg.connect(postgres_url) as other, psycopg.connect(postgres_url) as looking:
        looking.autocommit = True
        other.execute("UPDATE keymw_counter SET value = value + 1")
        with importing(postgres_url, str(file)) as process:
            eventually(lambda: looking.execute(waiting).fetchall() == [("Lock",)], patience=30)
            assert_stopped(process)
        other.rollback()
    assert run.stored() == ([], [])


def test_the_same_keys_from_two_files_at_once(database_url, tmp_path):
    Cli(database_url).done("migrate")
    rows = [csv_row(f"label {number}", generate("phs_")) for number in range(2500)]
    for name, given in (("one", rows), ("two", rows[::-1])):
        (tmp_path / name).write_text(csv_file(*given))
    with (
        importing(database_url, str(tmp_path / "one"), "--json") as one,
        importing(database_url, str(tmp_path / "two"), "--json") as two,
    ):
        said = [json.loads(process.stdout.read()) for process in (one, two)]
        assert [process.stderr.read() for process in (one, two)] == ["", ""]
    assert [(each["stored"], each["new"] + each["known"]) for each in said] == [(True, 2500)] * 2
    assert sum(each["new"] for each in said) == 2500
    with KeyService(database_url) as keys:
        assert len(keys.list()) == 2500
        numbers = [event.seq for event in keys.history(limit=1000)]
        assert numbers == list(range(numbers[0], numbers[0] - 1000, -1))


@pytest.mark.parametrize("with_redis", [False, True], ids=["feed", "redis"])
def test_a_running_app_that_has_just_refused_a_key_takes_it(
    migrated_url, redis_url, with_redis, tmp_path
):
    token = generate("phs_")
    redis = redis_url if with_redis else None

    def view(environ, start_response):
        start_response("204 No Content", [])
        return [environ["keymw.principal"].display_name.encode()]

    def status():
        environ = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
        setup_testing_defaults(environ)
        said = []
        b"".join(app(environ, lambda status, headers, info=None: said.append(status)))
        return said[0][:3]

    file = tmp_path / "keys.csv"
    file.write_text(csv_file(csv_row("a", token)))
    with KeyService(migrated_url, redis=redis) as keys:
        app = KeyAuthMiddleware(view, keys)
        eventually(lambda: status() == "401" and keys.stats().l1_negative_hits)
        result = Cli(migrated_url, redis).done("import", str(file))
        bound = 1 if with_redis else 5
        assert f"within {bound} s every process takes them" in result.stdout
        eventually(lambda: status() == "204", patience=bound)


def test_nothing_to_read(run, tmp_path):
    assert "import: it is empty" in assert_one_line(run("import"), 1)
    missing = run("import", str(tmp_path / "nothing.csv"))
    assert "does not exist" in assert_one_line(missing, 2)


def test_a_pipe(migrated_url):
    token = generate("phs_")
    result = program("import", stdin=json_row("a", token), KEYMW_DATABASE_URL=migrated_url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"1 key stored; 0 there already; 0 rejected.\n{WITHIN}"


def test_a_bar_where_somebody_looks(migrated_url, tmp_path):
    file = tmp_path / "keys.csv"
    rows = [csv_row(f"label {number}", generate("phs_")) for number in range(2000)]
    file.write_text(csv_file(*rows))
    ours, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "keymw", "import", str(file)],
        stdout=subprocess.PIPE,
        stderr=its,
        env={**os.environ, "TERM": "xterm-256color", "KEYMW_DATABASE_URL": migrated_url},
    ) as process:
        os.close(its)
        shown = b""
        try:
            while piece := os.read(ours, 10_000):
                shown += piece
        except OSError:  # Linux says so when the other side has closed
            pass
        said = process.stdout.read().decode()
    os.close(ours)
    assert said == f"2000 keys stored; 0 there already; 0 rejected.\n{WITHIN}"
    assert "2,000 rows" in shown.decode()
    assert "Checking and storing" in shown.decode()
