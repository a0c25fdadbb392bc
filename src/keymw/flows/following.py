"""Hears of what other processes change, and keeps the fence up by it.

Two flows run side by side. One listens to the stream in Redis, which tells within milliseconds; the
other looks into the store's feed now and then, which has what Redis lost, and everything where
there is no Redis. Each extends its lease from the moment at which its question was sent, once the
answer has been applied; an error extends nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from keymw.cache import codec
from keymw.errors import NotMigrated, SharedCacheUnavailable, StoreUnavailable
from keymw.flows.deps import FEED_WINDOW, know_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from keymw.flows.deps import Deps
    from keymw.ports import ChangeStream

log = logging.getLogger("keymw")

#: Failures in a row that are worth a line; of a single one the lease knows nothing yet.
_DEAF = 2

#: The sources of the fence's leases.
STREAM, FEED = "stream", "feed"


async def follow_feed(deps: Deps, nap: Callable[[float], Awaitable[bool]]) -> None:
    """Look into the store's feed until `nap` says that it is time to stop."""
    failures = 0
    while True:
        sent = deps.clock.monotonic()
        try:
            await _catch_up(deps)
        except StoreUnavailable as error:
            deps.counters.store_errors += 1
            failures += 1
            if failures == _DEAF:
                log.warning(
                    "keymw: changes cannot be heard of, so caches are hardly used: %s", error
                )
        else:
            if failures >= _DEAF:
                log.warning("keymw: changes can be heard of again.")
            failures = 0
            deps.local.fence.extend(FEED, sent + deps.settings.feed_lease)
        if await nap(deps.settings.poll_interval):
            return


async def follow_stream(
    deps: Deps, stream: ChangeStream, nap: Callable[[float], Awaitable[bool]]
) -> None:
    """Listen to the stream until `nap` says that it is time to stop."""
    behind = True
    while True:
        sent = deps.clock.monotonic()
        pause = 0.0
        try:
            await know_store(deps, stream)
            heard = await stream.read(deps.settings.heartbeat)
            # From here on, until the store was asked: what was missed is not known.
            behind = not _apply(deps, heard.messages) or not heard.complete or behind
            if behind:
                await _catch_up(deps)
                behind = False
        except (SharedCacheUnavailable, StoreUnavailable) as error:
            deps.counters.store_errors += isinstance(error, StoreUnavailable)
            pause = deps.settings.heartbeat
        else:
            deps.local.fence.extend(STREAM, sent + deps.settings.stream_lease)
        if await nap(pause):
            return


async def _catch_up(deps: Deps) -> None:
    applied = False
    while not applied:
        # Noted before the question is sent: the store cannot answer from before it.
        progress = deps.local.progress
        position, changes = await deps.store.feed(progress[0], FEED_WINDOW)
        complete = len(changes) < FEED_WINDOW
        applied = deps.local.catch_up(progress, position, changes, complete=complete)
        deps.counters.invalidations += len(changes)


def _apply(deps: Deps, messages: Sequence[bytes]) -> bool:
    """Apply what the stream tells; False if something that came before it is missing."""
    complete = True
    for message in messages:
        change = codec.decode_change(message, deps.signing_keys)
        if change is None:
            # A stranger's; or signed with a newer key, or written by a newer keymw. What it says,
            # the store says too.
            deps.signing_keys = ()
            complete = False
        else:
            deps.counters.invalidations += 1
            complete = deps.local.invalidate(change) and complete
    return complete


async def ready(deps: Deps) -> None:
    """Raise `NotMigrated` if that is so; a database that does not answer may do so later."""
    try:
        await deps.store.position()
    except NotMigrated:
        raise
    except StoreUnavailable:
        deps.counters.store_errors += 1
