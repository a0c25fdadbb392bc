"""The benchmark of imports runs and measures. How long anything takes is no test's business."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "importing.py"
FIGURES = re.compile(
    r"[\d.]+ s, [\d,]+ rows a second, \d+ MB; \d+ changes meanwhile: "
    r"median [\d.]+ ms, longest [\d.]+ ms"
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
