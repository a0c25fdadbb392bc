"""The benchmark of imports runs and measures. How long anything takes is no test's business."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "importing.py"
FIGURES = re.compile(
    r"[\d.]+ s, [\d,]+ rows a second, \d+ MB; \d+ changes wanted meanwhile: "
    r"median [\d.]+ ms, longest [\d.]+ ms, \d+ beyond store_timeout \(2 s\)"
)


@pytest.mark.parametrize("arguments", [["--quick"], ["--quick", "--sqlite"]])
def test_it_measures_both_runs(arguments):
    result = subprocess.run(
        [sys.executable, str(BENCHMARK), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    machine, database, new, known = result.stdout.splitlines()
    assert "CPUs" in machine
    assert database.startswith("SQLite" if "--sqlite" in arguments else "PostgreSQL")
    assert "3,000 rows" in database
    for name, line in (("new:", new), ("there already:", known)):
        assert FIGURES.fullmatch(line.removeprefix(name).strip())


def test_who_would_have_asked_meanwhile_has_waited_too(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    waits_of = runpy.run_path(str(BENCHMARK))["waits_of"]
    assert waits_of(10.0, 10.001) == pytest.approx([0.001])
    assert waits_of(10.0, 10.05) == pytest.approx([0.05, 0.03, 0.01])
    assert sum(waits_of(10.0, 20.0)) == pytest.approx(10.0 / 0.02 * 5, rel=0.01)
