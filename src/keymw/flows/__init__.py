"""Every operation of more than one step, written once, over ports.

Each `await` is a place where the caller may be cancelled, so what is written first is what must
hold: a change is committed before anybody is told of it, and a verdict that L1 refused is never
used. Nothing here reads a clock but the one handed in, imports asyncio, or holds a lock.
"""

from keymw.flows.changes import (
    activate_user,
    adopt,
    deactivate_user,
    get,
    issue,
    revoke,
    roll,
    settled,
    tell_committed,
    update,
)
from keymw.flows.deps import Deps
from keymw.flows.following import FEED, STREAM, follow_feed, follow_stream, ready
from keymw.flows.importing import import_keys
from keymw.flows.leaks import find_by_digest, report_leak
from keymw.flows.lookup import load
from keymw.flows.usage import follow_usage, write_uses

__all__ = [
    "FEED",
    "STREAM",
    "Deps",
    "activate_user",
    "adopt",
    "deactivate_user",
    "find_by_digest",
    "follow_feed",
    "follow_stream",
    "follow_usage",
    "get",
    "import_keys",
    "issue",
    "load",
    "ready",
    "report_leak",
    "revoke",
    "roll",
    "settled",
    "tell_committed",
    "update",
    "write_uses",
]
