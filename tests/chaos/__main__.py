"""The long form: every scenario many times, with the fault before, at and after the change.

python -m chaos [--rounds N] [--only WORD] [--json FILE] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
from math import inf
from pathlib import Path

from rich.console import Console

from chaos.fleet import running_fleet
from chaos.scenarios import RETURNED, SCENARIOS
from chaos.table import show
from chaos.traffic import Traffic
from chaos.trial import Trial

#: How often, of all rounds, a fault begins when the change has returned.
_AFTERWARDS = 0.2


def _chosen(scenario, chance):
    """Return the worker to hit and the moment of the fault."""
    hit = chance.choice(scenario.targets) if scenario.targets else None
    if scenario.moments is None:
        return hit, scenario.moment
    if not scenario.cold and chance.random() < _AFTERWARDS:
        return hit, RETURNED
    return hit, chance.uniform(*scenario.moments)


def _trials(options):
    """Return what is tried, in order: a scenario, the worker to hit and the moment of the fault."""
    chance = random.Random(options.seed)
    scenarios = [each for each in SCENARIOS if options.only in each.name]
    for _ in range(options.rounds):
        for scenario in scenarios:
            yield scenario, *_chosen(scenario, chance)


def _run(options, console, results):
    with running_fleet() as fleet, Traffic(fleet.workers) as traffic:
        try:
            for scenario, hit, moment in _trials(options):
                result = Trial(fleet, traffic, scenario, hit=hit, moment=moment).run()
                results.append(result)
                console.print(_line(result, moment), style="bold red" * bool(result.violations))
                if result.violations:
                    console.print(result.explain(), markup=False, soft_wrap=True)
        except KeyboardInterrupt:
            console.print("Interrupted; what there is by now:")


def _line(result, moment):
    when = moment if moment == RETURNED else f"{moment * 1000:+.0f} ms"
    last = "never" if result.slowest == -inf else f"at {result.slowest * 1000:+.0f} ms"
    return f"{result.scenario} {result.hit} (fault {when}): last accepted {last}"


def main():
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--json", type=Path, help="write all results there")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is ended in order
    console = Console(stderr=True, highlight=False)
    console.print(f"seed {options.seed}")
    results = []
    try:
        _run(options, console, results)
    finally:
        _report(options, results)
    sys.exit(any(each.violations for each in results))


def _report(options, results):
    if options.json:
        options.json.write_text(json.dumps([each.as_json() for each in results], indent=1))
    if results:
        sys.stdout.write(show(results))


if __name__ == "__main__":
    main()
