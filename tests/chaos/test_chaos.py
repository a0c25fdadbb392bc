"""Every scenario once, in its most telling form; `make chaos` is the long one."""

from __future__ import annotations

import pytest

from chaos.scenarios import SCENARIOS
from chaos.trial import Trial


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name.replace(" ", "-"))
def test_a_revoked_key_is_refused_in_time(fleet, traffic, results, scenario):
    result = Trial(fleet, traffic, scenario).run()
    results.append(result)
    assert not result.violations, result.explain()
