from __future__ import annotations

import pytest

from chaos.fleet import running_fleet
from chaos.table import show
from chaos.traffic import Traffic

_results = pytest.StashKey()


@pytest.fixture(scope="package")
def fleet():
    with running_fleet() as fleet:
        yield fleet


@pytest.fixture(scope="package")
def traffic(fleet):
    with Traffic(fleet.workers) as traffic:
        yield traffic


@pytest.fixture(scope="package")
def results(request):
    """What the trials have shown; a table of it is printed at the end."""
    return request.config.stash.setdefault(_results, [])


def pytest_terminal_summary(terminalreporter, config):
    if results := config.stash.get(_results, []):
        terminalreporter.section("a revoked key under faults")
        terminalreporter.write(show(results))
