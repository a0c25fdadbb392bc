"""Writes down when keys were last used: in batches, and never on the way of a request."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from keymw.errors import StoreUnavailable
from keymw.ports import Use

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keymw.flows.deps import Deps

log = logging.getLogger("keymw")

#: Seconds between two looks whether it is time.
_LOOK = 1.0
#: Uses that are written before it is time, so that they do not fill the memory.
_MANY = 10_000
#: Keys in one transaction: locks are held briefly.
_BATCH = 500
#: Tries to write what is being changed by others just as the process ends, and seconds between.
_LAST_TRIES, _LAST_PAUSE = 5, 0.05

_Uses = dict[tuple[str, bytes], Use]


async def follow_usage(deps: Deps, nap: Callable[[float], Awaitable[bool]]) -> None:
    """Write uses down each `last_used_interval`, and once more when it is time to stop."""
    interval = deps.settings.last_used_interval
    held: _Uses = {}
    due = deps.clock.monotonic() + interval
    while True:
        is_last = await nap(min(interval, _LOOK))
        now = deps.clock.monotonic()
        if is_last or now >= due or deps.local.uses >= _MANY:
            due = now + interval
            _collect(deps, held)
            try:
                await _write(deps, held)
                # The connection is not needed for long.
                await deps.store.aclose()
            except StoreUnavailable as error:
                deps.counters.store_errors += 1
                if is_last:
                    log.warning("keymw: the last uses of keys (%d) are lost: %s", len(held), error)
        if is_last:
            if held:
                await _try_again(deps, held)
            return


async def write_uses(deps: Deps) -> None:
    """Write all uses down at once."""
    held: _Uses = {}
    _collect(deps, held)
    await _write(deps, held)


async def _try_again(deps: Deps, held: _Uses) -> None:
    for _ in range(_LAST_TRIES):
        await deps.pause(_LAST_PAUSE)
        try:
            await _write(deps, held)
        except StoreUnavailable:
            return
        if not held:
            return


def _collect(deps: Deps, held: _Uses) -> None:
    """Take the uses from the cache, by the time of day."""
    taken = deps.local.take_uses()
    now, monotonic = deps.clock.now(), deps.clock.monotonic()
    for key_id, digest, used in taken:
        at = now - timedelta(seconds=max(monotonic - used, 0.0))
        known = held.get((key_id, digest))
        if known is None or known.at < at:
            held[key_id, digest] = Use(key_id, digest, at)


async def _write(deps: Deps, held: _Uses) -> None:
    """Write uses; what stays in `held` belongs to keys that are being changed just now."""
    uses = sorted(held.values(), key=lambda use: use.key_id)
    for start in range(0, len(uses), _BATCH):
        batch = uses[start : start + _BATCH]
        busy = set(await deps.store.touch(batch))
        for use in batch:
            if use.key_id not in busy:
                del held[use.key_id, use.digest]
