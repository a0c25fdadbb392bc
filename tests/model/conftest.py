from __future__ import annotations

import logging

import pytest

from model import world


@pytest.fixture
def repeatable(caplog):
    """Nothing is random, and outages are not logged ten thousand times."""
    caplog.set_level(logging.CRITICAL, "keymw")
    with world.repeatable():
        yield
