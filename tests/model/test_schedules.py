"""Every schedule that breaks a naive cache, by its name."""

from __future__ import annotations

import inspect

import pytest

from model import schedules

pytestmark = pytest.mark.usefixtures("repeatable")

SCHEDULES = [
    function
    for name, function in vars(schedules).items()
    if inspect.isfunction(function)
    and function.__module__ == schedules.__name__
    and not inspect.signature(function).parameters
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda function: function.__name__)
def test_schedule(schedule):
    schedule()
