"""Every order of what happens in a scenario, and every fault in it, keeps the promises."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.scenarios import SHORT, Search, everything
from model.scheduler import explore
from model.world import Faults

pytestmark = pytest.mark.usefixtures("repeatable")

#: More than any of the scenarios here takes.
_MOST = 5000


@pytest.mark.parametrize("search", SHORT, ids=str)
def test_no_schedule_breaks_a_promise(search, record_property):
    explored = explore(search.world, _MOST)
    record_property("explored", str(explored))
    sys.stdout.write(f"{search}: {explored}\n")
    assert explored.schedules > 1


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(st.data())
def test_no_sample_of_everything_at_once_breaks_a_promise(data):
    sample(data)


def sample(data):
    """Play one schedule of the scenario that is too big to be searched."""
    faults = Faults(most=4, redis=True, ends=True, clocks=True, jumps=3)
    world = Search(everything, faults).world()
    while moves := world.moves():
        usual = [move for move in moves if move.fault is None and move.actor in world.actors]
        # Faults are a few of very many moves: the later they come, the more they find to break.
        rare = [move for move in moves if move not in usual]
        chosen = rare if not usual or (rare and data.draw(st.integers(0, 19)) == 19) else usual
        world.make(data.draw(st.sampled_from(chosen)))
    world.end()
