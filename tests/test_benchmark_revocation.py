"""The benchmark of revocation measures what it says, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from conftest import eventually, unmeasured

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COMMAND = [sys.executable, str(BENCHMARKS / "revocation.py"), "--quick"]
NAMES = ["keymw", "TTL + pub/sub"]


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """The modules of the benchmarks can be imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@contextmanager
def playground():
    """Give a folder in which all of a run takes place; PostgreSQL's user can enter it."""
    with tempfile.TemporaryDirectory(prefix="kt-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def environment(folder):
    return {**os.environ, "TMPDIR": str(folder), "COLUMNS": "100"}


def processes(folder):
    """Return the ids of processes that work in a folder: servers and workers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "cwd").readlink()).startswith(f"{folder}/"):
                found.append(int(process.name))
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
    return found


# ---- a whole run, on PostgreSQL and Redis ------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    target = tmp_path_factory.mktemp("figures") / "figures.json"
    with playground() as folder:
        result = subprocess.run(
            [*COMMAND, "--json", str(target)],
            capture_output=True,
            text=True,
            env=environment(folder),
            timeout=60,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert (processes(folder), list(folder.iterdir())) == ([], [])
    return result.stdout, json.loads(target.read_text())


def tables(text):
    """Return the rows of each table."""
    found = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in found]
    return [row for row in rows if row[0] in NAMES]


def test_says_what_it_ran_on(run):
    text, figures = run
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"CPython {version}, {os.cpu_count()} CPUs" in text
    assert re.search(r"PostgreSQL \d+\.\d+, redis-server \d+\.\d+", text)
    assert "workers: async (2), blocking (1)" in text
    assert "20 revokes of each" in text
    assert text.isascii()
    assert all(len(line) <= 100 for line in text.splitlines())
    machine = figures["machine"]
    assert machine["database"].startswith("PostgreSQL ")
    assert machine["python"] == f"CPython {version}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", machine["date"])
    assert figures["workers"] == ["async", "async", "blocking"]
    assert figures["settings"]["max_age"] == figures["plain_ttl"]


def test_tables_show_the_figures(run):
    text, figures = run
    rows = tables(text)
    assert [row[0] for row in rows] == NAMES * 2
    for row, (name, found) in zip(rows[:2], figures["healthy"].items(), strict=True):
        assert row[:2] == [name, "20"]
        times = [*found["last_accept"].values(), *found["first_refusal"].values()]
        assert [*row[2:5], *row[6:9]] == [f"{time:.2f}" for time in times]
        assert row[5] == f"{found['share_not_accepted_after']:.1%}"
    for row, (name, found) in zip(rows[2:], figures["cut"].items(), strict=True):
        assert row[:2] == [name, "2"]
        assert row[4] == f"{found['still_accepted_at_cut_off']} of 2"


@pytest.mark.parametrize("name", NAMES)
def test_every_revoke_is_in_the_json(run, name):
    _, figures = run
    found = figures["healthy"][name]
    assert len(found["samples"]) == found["n"] == 20
    assert found["last_accept"]["max"] == max(s["last_accept"] for s in found["samples"])
    for sample in found["samples"]:
        # Every worker had accepted the key before, and has refused it since.
        assert sample["last_accept"] < sample["first_refusal"]
        assert sample["call"] > 0
    assert found["accepted_after_a_refusal"] == found["unavailable"] == 0
    assert found["still_accepted_at_cut_off"] == 0


def test_a_cut_shows_why_the_bound_matters(run):
    text, figures = run
    plain, keymw = figures["cut"]["TTL + pub/sub"], figures["cut"]["keymw"]
    assert plain["still_accepted_at_cut_off"] > 0
    assert plain["last_accept"]["max"] >= figures["cut_off"] * 1000
    assert keymw["still_accepted_at_cut_off"] == 0
    assert keymw["last_accept"]["max"] <= keymw["bound"]
    assert tables(text)[3][3] == "> 1500"
    assert "keymw: no key accepted again after a refusal: yes" in text


def test_the_gaps_between_checks_are_shown(run):
    text, figures = run
    gap = figures["gap"]
    assert 0.2 <= gap["median"] <= gap["p99"] <= gap["max"]
    assert f"gaps of {gap['median']:.2f} ms (median)" in text


# ---- it ends well ------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_behind(number, status):
    with playground() as folder:
        process = subprocess.Popen(
            [*COMMAND, "--sqlite", "--workers", "2"],
            env=unmeasured(environment(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            eventually(lambda: len(processes(folder)) == 3)  # Redis and the workers
            process.send_signal(number)
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
        assert "Traceback" not in output
        assert process.returncode == status
        assert (processes(folder), list(folder.iterdir())) == ([], [])


def test_a_folder_that_is_not_there_is_said_at_once(tmp_path):
    from revocation import main

    result = CliRunner().invoke(main, ["--json", str(tmp_path / "no" / "figures.json")])
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr


def test_a_worker_that_ends_is_named(tmp_path):
    from revocation_fleet import Fleet
    from revocation_servers import Place

    place = Place(tmp_path)
    try:
        fleet = Fleet(place, "mysql://nowhere", "unix:///nowhere", 1)
        with pytest.raises(RuntimeError, match=r"(?s)^worker 1 has ended\..*mysql"):
            fleet.watch("keymw", ["x"])
        with pytest.raises(RuntimeError, match=r"(?s)^worker 1 has ended\..*mysql"):
            fleet.check()
    finally:
        place.stop()


def test_a_server_that_does_not_start_is_named(tmp_path):
    from revocation_servers import Place

    place = Place(tmp_path)
    process = place.start("redis", [sys.executable, "-c", "print('Cannot.'); exit(1)"])
    with pytest.raises(RuntimeError, match=r"redis did not start\.\nCannot\."):
        place.wait_for("redis", process, lambda: False)
    place.stop()


# ---- what a worker notes -----------------------------------------------------------------------


class Scripted:
    """Gives one answer after another, then the last one for ever."""

    def __init__(self, *answers, held=0):
        self.answers = list(answers)
        self.misses = held
        self.checks = 0

    async def check(self, _token):
        self.checks += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def holds(self, _token):
        self.misses -= 1
        return self.misses < 0


async def watched(checker, told_to_stop=lambda: False):
    from revocation_watch import hold, watch

    report = await watch(checker, ["t"], await hold(checker, ["t"]), told_to_stop)
    return report, report.seen[0]


async def test_the_last_accept_and_the_first_refusal():
    from revocation_watch import Answer

    report, seen = await watched(Scripted(*[Answer.ACCEPTED] * 3, Answer.REFUSED))
    assert seen.last_accept < seen.first_refusal
    assert len(report.gaps) == 3
    assert (seen.relapses, seen.unknown) == (0, 0)


async def test_an_accept_after_a_refusal_is_the_last_one():
    from revocation_watch import Answer

    script = Scripted(Answer.ACCEPTED, Answer.REFUSED, Answer.ACCEPTED, Answer.REFUSED)
    _, seen = await watched(script)
    assert seen.last_accept > seen.first_refusal
    assert seen.relapses == 1


async def test_a_503_is_neither():
    from revocation_watch import Answer

    script = Scripted(Answer.ACCEPTED, Answer.UNKNOWN, Answer.UNKNOWN, Answer.REFUSED)
    _, seen = await watched(script)
    assert (seen.unknown, seen.relapses) == (2, 0)
    assert seen.last_accept < seen.first_refusal


async def test_a_key_that_is_never_refused_is_watched_until_told_to_stop():
    from revocation_watch import Answer

    script = Scripted(Answer.ACCEPTED, held=2)
    _, seen = await watched(script, lambda: script.checks == 5)
    assert seen.first_refusal is None
    assert script.checks == 5


# ---- figures -----------------------------------------------------------------------------------


def sample(last_accept, first_refusal, *, acknowledged=True):
    """Put together a sample of two workers; times in seconds, of a revoke from 99.9 to 100."""
    from revocation_contenders import Outcome
    from revocation_figures import Sample
    from revocation_watch import Report, Seen

    reports = [Report([Seen(99.0, 99.5)], []), Report([Seen(last_accept, first_refusal)], [])]
    return Sample.of(reports, 0, 99.9, 100.0, Outcome(acknowledged, 1.0))


def test_a_sample_is_the_slowest_process():
    found = sample(100.25, 100.5)
    assert (found.last_accept, found.first_refusal) == (250, 500)
    assert found.call == pytest.approx(100)


def test_a_sample_may_be_negative_or_open():
    assert sample(99.75, 99.875).first_refusal == -125
    assert sample(110.0, None).first_refusal is None


def test_quantiles_are_figures_that_occurred():
    from report import quantile

    figures = list(range(100, 0, -1))
    assert [quantile(figures, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert quantile([7], 0.99) == 7


def test_a_summary_counts():
    from revocation_figures import summary

    made = [sample(99.75, 99.875), sample(99.75, 100.5, acknowledged=False), sample(111.0, None)]
    found = summary(made, cut_off=10.0)
    assert found["last_accept"] == {"p50": -250, "p99": 11_000, "max": 11_000}
    assert found["first_refusal"]["max"] == 500
    assert found["share_not_accepted_after"] == pytest.approx(2 / 3)
    assert found["share_refused_before"] == pytest.approx(1 / 3)
    assert found["still_accepted_at_cut_off"] == found["unacknowledged"] == 1


@pytest.mark.parametrize(
    ("part", "change", "broken"),
    [
        ("healthy", {"last_accept": {"p99": 50.0}}, "p99"),
        ("healthy", {"unavailable": 1}, "503"),
        ("healthy", {"accepted_after_a_refusal": 1}, "again"),
        ("cut", {"accepted_after_a_refusal": 1}, "again"),
        ("cut", {"last_accept": {"max": 1000.1}}, "cut off"),
    ],
)
def test_a_broken_promise_is_named(part, change, broken):
    from revocation_figures import verdicts

    good = {
        "last_accept": {"p99": 49.9, "max": 1000.0},
        "bound": 1000.0,
        "accepted_after_a_refusal": 0,
        "unavailable": 0,
    }
    parts = {"healthy": {"keymw": good}, "cut": {"keymw": good}}
    assert all(kept for _, kept in verdicts(**parts))
    parts[part] = {"keymw": good | change}
    (named,) = [text for text, kept in verdicts(**parts) if not kept]
    assert broken in named


# ---- the plain cache is a fair one -------------------------------------------------------------


@contextmanager
def two_caches(database, url, ttl=30.0):
    """Give a cache that issues and one that listens, as in two processes."""
    from revocation_contenders import PLAIN, client_name
    from revocation_plain import PlainCache

    named = f"{url}?client_name={client_name(PLAIN)}"
    with PlainCache(database, url, ttl) as issuer, PlainCache(database, named, ttl) as worker:
        issuer.migrate()
        worker.listen()
        yield issuer, worker


def test_the_plain_cache_hears_of_a_revoke(database_url, redis_url):
    from revocation_contenders import PLAIN
    from revocation_fleet import Scissors

    with (
        two_caches(database_url, redis_url) as (issuer, worker),
        redis.Redis.from_url(redis_url) as client,
    ):
        token = issuer.issue("daily")
        assert worker.peek(token) is None
        assert worker.load(token) == worker.peek(token) == {"label": "daily"}
        assert issuer.load(token) == {"label": "daily"}  # from Redis
        eventually(lambda: Scissors(client, PLAIN).listeners() == 1)
        issuer.revoke(token)
        eventually(lambda: worker.peek(token) is None)
        assert worker.load(token) is issuer.load(token) is None


def test_the_plain_cache_does_not_hear_while_it_is_cut_off(sqlite_url, redis_url, monkeypatch):
    import revocation_plain
    from revocation_contenders import PLAIN
    from revocation_fleet import Scissors

    monkeypatch.setattr(revocation_plain, "_RECONNECT", 1.0)  # not before the cutting is over
    with (
        two_caches(sqlite_url, redis_url) as (issuer, worker),
        redis.Redis.from_url(redis_url) as client,
    ):
        scissors = Scissors(client, PLAIN)
        first, second = issuer.issue("first"), issuer.issue("second")
        worker.load(first)
        worker.load(second)
        eventually(lambda: scissors.listeners() == 1)
        with scissors.cutting():
            issuer.revoke(first)
        eventually(lambda: scissors.listeners() == 1)
        issuer.revoke(second)
        eventually(lambda: worker.peek(second) is None)  # it listens again
        assert worker.peek(first) == {"label": "first"}


def test_the_plain_cache_goes_on_without_redis(sqlite_url, tmp_path):
    with two_caches(sqlite_url, f"unix://{tmp_path}/none.sock") as (issuer, worker):
        assert worker.load(issuer.issue("daily")) == {"label": "daily"}
        assert worker.load("unknown") is None


def test_the_plain_cache_forgets_after_its_ttl(sqlite_url, redis_url):
    with two_caches(sqlite_url, redis_url, ttl=1.0) as (issuer, worker):
        token = issuer.issue("daily")
        worker.load(token)
        worker._entries = {digest: (0.0, found) for digest, (_, found) in worker._entries.items()}
        assert worker.peek(token) is None


async def test_its_checker_asks_what_the_dict_does_not_know(sqlite_url, redis_url):
    from revocation_contenders import PlainChecker
    from revocation_watch import Answer

    with two_caches(sqlite_url, redis_url) as (issuer, worker):
        checker = PlainChecker(worker)
        token = await asyncio.to_thread(issuer.issue, "daily")
        assert [await checker.holds(token), await checker.holds(token)] == [False, True]
        assert await checker.check(token) is Answer.ACCEPTED
        assert await checker.check("unknown") is Answer.REFUSED
