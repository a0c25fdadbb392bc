"""Hears of what other processes change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.errors import NotMigrated, SharedCacheUnavailable, StoreUnavailable
from keymw.flows.deps import shared_cache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keymw.flows.deps import Deps
    from keymw.ports import Invalidation, SharedCache

_FEED_PAGE = 500


async def follow(deps: Deps, nap: Callable[[float], Awaitable[bool]]) -> None:
    """Apply what others change, until `nap` says that it is time to stop.

    Redis tells within milliseconds; the store's feed, looked at every `poll_interval` seconds,
    tells what Redis lost, and everything where there is no Redis.
    """
    seq: int | None = None
    while True:
        shared = None
        try:
            shared = await shared_cache(deps)
            seq = await _position(deps) if seq is None else await _poll(deps, seq)
        except StoreUnavailable:
            deps.counters.store_errors += 1
        # Counted from here, so that a slow database is not asked without a pause.
        next_poll = deps.clock.monotonic() + deps.settings.poll_interval
        while (left := next_poll - deps.clock.monotonic()) > 0:
            if shared is not None and not await _listen(deps, shared, left):
                shared = None  # until the next look into the feed
            left = max(next_poll - deps.clock.monotonic(), 0.0)
            if await nap(left if shared is None else 0):
                return


async def _position(deps: Deps) -> int:
    """Return where the feed stands, and drop what was read before anybody listened."""
    seq = await deps.store.position()
    deps.local.clear()
    return seq


async def _poll(deps: Deps, after: int) -> int:
    while True:
        page = await deps.store.feed(after, _FEED_PAGE)
        for seq, invalidation in page:
            _hear(deps, invalidation)
            after = seq
        if len(page) < _FEED_PAGE:
            return after


async def _listen(deps: Deps, shared: SharedCache, seconds: float) -> bool:
    """Apply what the shared cache tells; False if it cannot be listened to."""
    try:
        for invalidation in await shared.follow(seconds):
            _hear(deps, invalidation)
    except SharedCacheUnavailable:
        return False
    return True


def _hear(deps: Deps, invalidation: Invalidation) -> None:
    deps.counters.invalidations += 1
    deps.local.invalidate(invalidation)


async def ready(deps: Deps) -> None:
    """Raise `NotMigrated` if that is so; a database that does not answer may do so later."""
    try:
        await deps.store.position()
    except NotMigrated:
        raise
    except StoreUnavailable:
        deps.counters.store_errors += 1
