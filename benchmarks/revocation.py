"""How long a revoked key is still accepted: `make bench-revocation`.

What is measured. Several processes hold a key in their memory and ask for it in a loop, while
another process revokes it. Each notes the start of its last accepted check and of its first refused
one; the revoker notes when `revoke()` has returned. All read one clock, the machine's monotonic
one. The figure of a revoke is the time from its return to the last accept in any process. It is
negative where no check was accepted that began after the return: the table says how often ("none
after"). The true end lies between the last accept and the first refusal, so the time to that is
given too, for the process that was the last to refuse, and how often all had refused a check before
the call even returned ("before"). How far the checks lay apart is measured and shown.

The workers are two `AsyncKeyService` to one `KeyService`, on a private Redis and a private database
of the benchmark's own. They sleep for 0.2 ms between two checks, because ones that never did would
measure how long the revoker waits for a processor. Each goes on to ask for 5 ms after its first
refusal; an accept in that time is counted as such. A key is revoked at a moment that is random in
relation to the checks.

Beside it, in the same processes and in turns of 50 revokes: the cache that many write for
themselves (`revocation_plain.py`), a dict with a TTL, a value with a TTL in Redis, `DEL` and
`PUBLISH` on a revoke. Where nothing is broken, it is about as fast as keymw, for both do the same:
commit, then tell everybody through Redis. What it lacks is a bound when something breaks. So both
are measured once more, with the workers' connections to Redis cut (`CLIENT KILL`), and cut again as
they come back, from just before the revoke until its return; the revoker's are left alone. Those
keys are watched until 10 s after the last revoke: what is still accepted then is counted.

What is not measured: HTTP, networks between machines, clocks of several machines, load, and other
faults than this one, of which the tests have many. The plain cache does not empty its dict as it
reconnects. One that does gets over this fault, but not over a worker that was paused, a connection
that went silent, or a slow fill.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import redis
from rich.console import Console

from keymw import KeyService, Settings
from report import machine, progress, quantile
from revocation_contenders import KEYMW, TTL, KeymwRevoker, PlainRevoker
from revocation_figures import (
    cut_table,
    healthy_table,
    summary,
    verdicts,
)
from revocation_fleet import Fleet, Scissors, faces
from revocation_measure import BATCH, cut, healthy
from revocation_plain import PlainCache
from revocation_servers import find_postgres, place, start_postgres, start_redis
from revocation_watch import PAUSE

if TYPE_CHECKING:
    from revocation_contenders import Revoker
    from revocation_servers import Place

#: Revokes with cut connections, and seconds after which whatever still accepts is given up.
_CUT, _CUT_OFF = 20, 10.0
_QUICK_CUT, _QUICK_CUT_OFF = 2, 1.5


def start_database(place: Place, *, sqlite: bool) -> tuple[str, str]:
    """Return the URL of a new database, and which one it is."""
    programs = None if sqlite else find_postgres()
    if programs is not None:
        return start_postgres(place, programs)
    why = "" if sqlite else " (no PostgreSQL is installed)"
    return f"sqlite:///{place.folder}/keymw.db", f"SQLite{why}"


def measure(
    console: Console, place: Place, *, sqlite: bool, workers: int, revokes: int, quick: bool
) -> dict[str, Any]:
    """Start everything, and return the figures."""
    broken, cut_off = (_QUICK_CUT, _QUICK_CUT_OFF) if quick else (_CUT, _CUT_OFF)
    database, which_database = start_database(place, sqlite=sqlite)
    redis_url, which_redis = start_redis(place)
    parts = f"{which_database}, {which_redis}"
    kinds = [f"{kind} ({faces(workers).count(kind)})" for kind in sorted(set(faces(workers)))]
    console.print(f"{parts}; workers: {', '.join(kinds)}")
    with ExitStack() as stack:
        keys = stack.enter_context(KeyService(database, redis=redis_url))
        keys.migrate()
        plain = stack.enter_context(PlainCache(database, redis_url, TTL))
        plain.migrate()
        fleet = Fleet(place, database, redis_url, workers)
        revokers: list[Revoker] = [KeymwRevoker(keys), PlainRevoker(plain)]
        advance = stack.enter_context(progress("revokes", 2 * (revokes + broken)))
        samples, gaps = healthy(revokers, fleet, revokes, cut_off, advance)
        client = stack.enter_context(redis.Redis.from_url(redis_url))
        cuts = {}
        for revoker in revokers:
            scissors = Scissors(client, revoker.name)
            cuts[revoker.name] = cut(revoker, fleet, scissors, broken, cut_off)
            advance(broken)
    return {
        "machine": machine() | {"database": which_database, "server": which_redis},
        "workers": faces(workers),
        "settings": asdict(Settings()),
        "plain_ttl": TTL,
        "cut_off": cut_off,
        "gap": {
            "median": quantile(gaps, 0.5) * 1000,
            "p99": quantile(gaps, 0.99) * 1000,
            "max": max(gaps) * 1000,
        },
        "healthy": {name: summary(found, cut_off) for name, found in samples.items()},
        "cut": {name: summary(found, cut_off) for name, found in cuts.items()},
    }


def show(console: Console, found: dict[str, Any]) -> None:
    """Print what was found."""
    gap = found["gap"]
    console.print(
        f"Resolution: {PAUSE * 1000:g} ms of sleep between two checks made gaps of "
        f"{gap['median']:.2f} ms (median),\n"
        f"{gap['p99']:.2f} ms (p99) and {gap['max']:.2f} ms (longest).\n"
    )
    console.print(healthy_table(found["healthy"]))
    calls = [f"{name} {part['call']['p50']:.2f}" for name, part in found["healthy"].items()]
    console.print(f"The calls themselves took, in ms (p50): {', '.join(calls)}.\n")
    console.print(cut_table(found["cut"], found["cut_off"]))
    console.print()
    unheard = found["healthy"][KEYMW]["unacknowledged"]
    if unheard:
        console.print(f"keymw: {unheard} revokes were not acknowledged by Redis: it was too slow.")
    for text, holds in verdicts(found["healthy"], found["cut"]):
        console.print(f"keymw: {text}: {'yes' if holds else 'NO'}")


@click.command()
@click.option(
    "--revokes", default=2000, show_default=True, type=click.IntRange(1), help="Of each contender."
)
@click.option(
    "--workers", default=3, show_default=True, type=click.IntRange(1), help="How many processes."
)
@click.option("--sqlite", is_flag=True, help="Use SQLite though there is a PostgreSQL.")
@click.option(
    "--json",
    "target",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="File for the figures, with every single one.",
)
@click.option("--quick", is_flag=True, help="Only show that it works; the figures mean nothing.")
def main(*, revokes: int, workers: int, sqlite: bool, target: Path | None, quick: bool) -> None:
    """Measure how long a revoked key is still accepted."""
    if target is not None and not target.parent.is_dir():
        raise click.BadParameter(f"there is no folder {target.parent}", param_hint="--json")
    revokes = min(revokes, 20) if quick else revokes
    console = Console(width=100, highlight=False)
    facts = machine()
    console.print(
        f"{facts['python']}, {facts['cpus']} CPUs ({facts['cpu']}); "
        f"{revokes} revokes of each, in turns of {BATCH}."
    )
    with place() as found:
        try:
            figures = measure(
                console, found, sqlite=sqlite, workers=workers, revokes=revokes, quick=quick
            )
        except RuntimeError as error:
            raise click.ClickException(str(error)) from error
    show(console, figures)
    if target is not None:
        target.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
