"""The chaos test can fail: each thing that may not happen is found where it happens."""

from __future__ import annotations

import json
from math import inf

import pytest

from chaos.judgement import Observed, accepted_at, judge
from chaos.table import show
from chaos.traffic import Answer

#: The moment at which the key ended; it may be accepted for a second more.
END = 100.0


def answer(after=0.0, status=200, *, role="ending", worker="one", took=0.001, entered=None):
    """Return an answer to a request that was sent so long after the end of the key."""
    sent = END + after
    entered = sent if entered is None else END + entered
    return Answer(worker, role, sent, sent + took, status, entered, sent + took)


def result(*answers, **changes):
    seen = {"acknowledged": True, "bound": 1.0, "mended": END + 1, "workers": ("one", "two")}
    seen |= {"outages": True}
    return judge(Observed(scenario="tried", ended=END, answers=list(answers), **(seen | changes)))


def test_all_is_well():
    good = [answer(at, role="good", worker=who) for at in (-1, 0, 1) for who in ("one", "two")]
    found = result(*good, answer(-0.1), answer(0.2), answer(0.3, 401), answer(0.3, 503))
    assert not found.violations
    assert found.last_accept == pytest.approx({"one": 0.2, "two": -inf})
    assert (found.wrongly_refused, found.outages, found.recovery) == (0, 1, 0)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([answer(1.01)], "accepted an ended key 1010 ms later"),
        ([answer(-0.5, took=2.0)], "accepted an ended key 1500 ms later"),
        ([answer(0.1, 401, role="good")], "1 good keys were refused"),
        ([answer(0.1, 403, role="good")], "1 good keys were refused"),
        ([answer(0.1, 401), answer(0.2)], "accepted a key that it had refused"),
        ([answer(0.1, 500)], "1 answers with status 500"),
        ([answer(0.1, 500, role="good")], "1 answers with status 500"),
        ([answer(0.1, 0)], "1 answers with status 0"),
    ],
)
def test_what_may_not_happen(answers, words):
    (violation,) = result(*answers).violations
    assert words in violation


def test_no_outage_is_said_while_the_database_is_there():
    found = result(answer(0.1, 503), answer(0.2, 503, role="good"), outages=False)
    assert found.violations == ["2 outages where none had to be"]


def test_what_workers_and_the_harness_complain_of():
    logs = {"one": "Traceback (most recent call last):\n...", "two": "a word"}
    found = result(logs=logs, trouble=["not recovered"])
    assert found.violations == ["one logged a traceback", "not recovered"]
    assert "a word" in found.explain()


def test_a_stopped_worker_may_have_decided_before():
    hung = answer(-0.5, took=2.0)
    assert accepted_at(hung) == END + 1.5
    assert accepted_at(hung, stopped=END - 0.4) == END - 0.5
    came_in_afterwards = answer(-0.5, took=2.0, entered=1.49)
    assert accepted_at(came_in_afterwards, stopped=END - 0.4) == END + 1.5


def test_the_figures_are_json():
    figures = json.loads(json.dumps(result(answer(0.5)).as_json(), allow_nan=False))
    assert figures["last_accept"] == {"one": 0.5, "two": None}
    assert figures["violations"] == []


def test_connections_may_break_where_the_fault_breaks_them():
    assert not result(answer(0.1, 0), drops="one").violations
    assert result(answer(0.1, 0), drops="two").violations


def test_recovery_runs_from_the_end_of_the_fault():
    found = result(answer(0.5, 503, role="good"), answer(2, 503, role="good", took=0.25))
    assert found.recovery == pytest.approx(1.25)
    assert found.outages == 2


def test_the_table_has_the_maxima_and_counts_what_is_wrong():
    table = show([result(answer(0.2)), result(answer(1.5)), result(acknowledged=False)])
    first, second = table.splitlines()[-2:]
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells[:5] == ["tried", "2", "yes", "1000 ms", "1500 ms"]
    assert cells[-1] == "NO, 1"
    assert second.endswith("yes |")
