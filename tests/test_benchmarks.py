"""The benchmarks run and measure what they say. How long anything takes is no test's business."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from keymw.tokens import generate

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NUMBER = re.compile(r"-?\d+\.\d\d")


@pytest.fixture
def modules(monkeypatch):
    """The modules of the benchmarks can be imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def hit(*arguments):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "hit.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def report():
    result = hit("--quick")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def rows(report, face):
    """Return the rows of a face's table by their names, without the promises' further lines."""
    table = report.split(f"\n{face}: added to a request", 1)[1].split("\n\n", 1)[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {row[0]: row[1:] for row in cells if row and row[0]}


COMMON = ["scan, sha256, dict", "hand-written", "keymw"]


def test_asgi_has_every_contender(report):
    names = [*COMMON[:2], "Starlette's, with a dict", "keymw", "keymw, and a view"]
    found = rows(report, "ASGI")
    assert list(found) == ["contender", *names, "require_scopes", "require_scopes, project"]


def test_wsgi_has_every_contender(report):
    names = [*COMMON, "keymw, and a view", "require_scopes"]
    assert list(rows(report, "WSGI")) == ["contender", *names]


@pytest.mark.parametrize("face", ["ASGI", "WSGI"])
def test_figures_and_promises(report, face):
    found = rows(report, face)
    heading = found.pop("contender")
    assert heading == ["added us", "lowest", "highest", "ratio", "promise"]
    for added, lowest, highest, *_ in found.values():
        assert float(lowest) <= float(added) <= float(highest)
    for name in COMMON:
        assert NUMBER.fullmatch(found[name][3])
    assert found["keymw"][4].startswith("<= 1.2 x hand-written: ")
    assert found["require_scopes"][4].startswith("<= 0.25 us: ")


def test_says_what_it_ran_on(report):
    version = ".".join(map(str, sys.version_info[:3]))
    assert f"{version}, {os.cpu_count()} CPUs" in report
    assert all(len(line) <= 100 for line in report.splitlines())


# ---- a contender that does less than it should is found out ------------------------------------


GOOD, ENDED = generate("phs_"), generate("phs_")


def answers(headers, *, ended=False):
    """Answer as a faultless contender does."""
    from hit_known import LABEL

    sent = [value for name, value in headers if name.lower() == b"authorization"]
    good = [f"Bearer {token}".encode() for token in ((GOOD, ENDED) if ended else (GOOD,))]
    if len(sent) == 1 and sent[0] in good:
        return 200, "Authorization", LABEL
    return 401, "", ""


FAULTS = {
    "takes an ended key": (lambda headers: answers(headers, ended=True), "a key that has ended"),
    "takes whatever comes": (lambda headers: answers([*headers[:-1], *good()]), "an unknown key"),
    "refuses everything": (lambda _: (401, "", ""), "a good key"),
    "looks at lower case only": (
        lambda headers: answers([field for field in headers if field[0].islower()]),
        "upper case",
    ),
    "takes the first of two": (lambda headers: answers(headers[:8]), "credentials sent twice"),
    "forgets Vary": (lambda headers: (*answers(headers)[:1], "", answers(headers)[2]), "a good"),
}


def good():
    return [(b"authorization", f"Bearer {GOOD}".encode())]


def test_a_faultless_contender_is_let_in(modules):
    from hit_checks import check

    check("it", answers, GOOD, ENDED, duties=True)


@pytest.mark.parametrize(("fault", "named"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named(modules, fault, named):
    from hit_checks import check

    with pytest.raises(SystemExit, match=f"^it: {named}.*nothing measured"):
        check("it", fault, GOOD, ENDED, duties=True)


def test_last_used_compares_get_with_itself():
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / "last_used.py"), "--quick"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(re.findall(r"^\| +\d+ \|(?: +-?\d+\.\d{3} \|){3}", result.stdout, re.MULTILINE)) == 3


def test_only_the_noting_is_left_out(modules):
    from last_used import filled, without_notes

    cache, (digest,) = filled(1)
    cache.take_uses()
    get = without_notes()
    assert get(cache, digest, 1.0) == cache._positives[digest].verdict
    assert (cache.hits, cache.uses) == (1, 0)
    assert get(cache, b"unknown", 1.0) is None
    cache.get(digest, 1.0)
    assert (cache.hits, cache.uses) == (2, 1)


def test_misses_are_no_figures(modules):
    from hit_faces import KEYMW, Contender, Face

    face = Face("ASGI", [Contender(KEYMW, lambda _: None)], lambda: None, lambda: 0)
    with pytest.raises(SystemExit, match="nothing measured"):
        face.run(1, 1)
