"""Every operation of more than one step, written once, over ports.

Each `await` is a place where the caller may be cancelled, so what is written first is what must
hold: a change is committed before anybody is told of it, and a verdict that L1 refused is never
used. Nothing here reads a clock but the one handed in, imports asyncio, or holds a lock.
"""

from keymw.flows.changes import (
    adopt,
    get,
    issue,
    revoke,
    roll,
    set_user,
    settled,
    tell_committed,
    update,
)
from keymw.flows.deps import Deps
from keymw.flows.following import FEED, STREAM, follow_feed, follow_stream, ready
from keymw.flows.lookup import load

__all__ = [
    "FEED",
    "STREAM",
    "Deps",
    "adopt",
    "follow_feed",
    "follow_stream",
    "get",
    "issue",
    "load",
    "ready",
    "revoke",
    "roll",
    "set_user",
    "settled",
    "tell_committed",
    "update",
]
