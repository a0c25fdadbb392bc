"""What noting when a key was last used adds to a hit of L1: `make bench-last-used`.

The two that are compared are `LocalCache.get` as it is, and the same source without the lines that
note the use. They take turns in short rounds on the same keys, and each round's difference counts:
a machine that slows down for a while slows both. A round starts with notes that have just been
taken away, as the thread that writes them does each `Settings.last_used_interval`.
"""

from __future__ import annotations

import inspect
import os
import platform
import textwrap
import time
from hashlib import sha256
from statistics import median
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from keymw import Granted, ServicePrincipal
from keymw.cache import local
from keymw.cache.fence import Fence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keymw import Denied

    Get = Callable[[local.LocalCache, bytes, float], Granted | Denied | None]

#: What the lines of `get` that note the use have in them, and how many they are.
_NOTES = ("used_at", "noted_in", "_note_use")
_NOTING = 3


def without_notes() -> Get:
    """Return `LocalCache.get` without the lines that note the use."""
    lines = textwrap.dedent(inspect.getsource(local.LocalCache.get)).splitlines()
    kept = [line for line in lines if not any(name in line for name in _NOTES)]
    if len(lines) - len(kept) != _NOTING:
        raise SystemExit("get() is not what this benchmark knows: nothing measured.")
    names: dict[str, Any] = {}
    exec("from __future__ import annotations\n" + "\n".join(kept), vars(local), names)
    get: Get = names["get"]
    return get


def filled(keys: int) -> tuple[local.LocalCache, list[bytes]]:
    """Return an L1 that holds some keys, and their digests."""
    cache = local.LocalCache(keys, 1, Fence())
    digests = [sha256(b"%d" % number).digest() for number in range(keys)]
    for number, digest in enumerate(digests):
        key_id = f"key_{number}"
        granted = Granted(ServicePrincipal(key_id, "2", "label", frozenset()))
        cache.put_granted(digest, local.Entry(granted, 1e9, 1e9, ((f"key:{key_id}", 1),)), 0.0)
    return cache, digests


def timed(cache: local.LocalCache, get: Get, digests: Sequence[bytes], turns: int) -> float:
    """Return the microseconds that a hit takes."""
    cache.take_uses()
    hits = cache.hits
    begun = time.perf_counter()
    for _ in range(turns):
        for digest in digests:
            get(cache, digest, 1.0)
    took = time.perf_counter() - begun
    count = turns * len(digests)
    if cache.hits - hits != count:
        raise SystemExit("Not every one was a hit: nothing measured.")
    return took / count * 1e6


@click.command()
@click.option("--quick", is_flag=True, help="Only show that it works; the figures mean nothing.")
def main(*, quick: bool) -> None:
    """Measure what noting the last use adds to a hit of keymw's L1."""
    rounds, hits = (2, 2000) if quick else (200, 20_000)
    console = Console(width=100, highlight=False)
    console.print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"{rounds} rounds of {hits} hits each way."
    )
    shown = Table(box=box.ASCII2, title="LocalCache.get, us a hit", title_justify="left")
    for heading in ("keys in use", "without", "with", "added", "quartiles"):
        shown.add_column(heading, justify="right")
    bare = without_notes()
    for keys in (1, 100, 1000):
        cache, digests = filled(keys)
        turns = hits // keys
        plain, noting, added = [], [], []
        for _ in range(rounds):
            plain.append(timed(cache, bare, digests, turns))
            noting.append(timed(cache, local.LocalCache.get, digests, turns))
            added.append(noting[-1] - plain[-1])
        added.sort()
        quartiles = f"{added[len(added) // 4]:.3f} to {added[3 * len(added) // 4]:.3f}"
        figures = (median(plain), median(noting), median(added))
        shown.add_row(str(keys), *(f"{figure:.3f}" for figure in figures), quartiles)
    console.print(shown)


if __name__ == "__main__":
    main()
