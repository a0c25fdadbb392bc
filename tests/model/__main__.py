"""Searches every scenario, in its long form too, and says how much there was to try.

`make model` runs it.
"""

from __future__ import annotations

import logging
import sys
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.scenarios import LONG, SHORT
from model.scheduler import Violation, explore
from model.test_search import sample
from model.world import repeatable

#: Schedules of everything at once.
_SAMPLES = 5000


def _say(name, *columns):
    line = f"{name:<70}" + "".join(f"{column:>12}" for column in columns)
    print(line, flush=True)  # noqa: T201 - it is what the command is for


def _search_all():
    _say("scenario", "schedules", "states", "seconds")
    for search in (*SHORT, *LONG):
        begun = time.monotonic()
        explored = explore(search.world)
        seconds = f"{time.monotonic() - begun:.1f}"
        _say(str(search), explored.schedules, len(explored.states), seconds)


def _sample():
    health = [HealthCheck.too_slow, HealthCheck.data_too_large]
    sampled = settings(max_examples=_SAMPLES, deadline=None, suppress_health_check=health)
    begun = time.monotonic()
    sampled(given(st.data())(sample))()
    _say("samples of everything at once", _SAMPLES, "", f"{time.monotonic() - begun:.1f}")


if __name__ == "__main__":
    logging.getLogger("keymw").disabled = True
    with repeatable():
        try:
            _search_all()
            _sample()
        except Violation as violation:
            sys.exit(f"A promise is broken: {violation}")
