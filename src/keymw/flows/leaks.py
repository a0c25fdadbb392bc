"""What is done about a token that somebody else has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.errors import VersionConflict
from keymw.flows.changes import get, revoke
from keymw.model import Denied, Leak, Outcome, Reason
from keymw.policy import judge

if TYPE_CHECKING:
    from keymw.flows.deps import Deps
    from keymw.model import Key

#: Why a secret does not work and never will again. A user may come back, and the key with them.
_OVER = (Reason.REVOKED, Reason.EXPIRED, Reason.ROLLED)

#: How often a key is judged anew that somebody has changed meanwhile.
_ATTEMPTS = 4


async def find_by_digest(deps: Deps, digest: bytes) -> Key | None:
    """Return the key that has, or had, a secret."""
    record = await deps.store.find(digest)
    return None if record is None else await deps.store.get(record.key_id)


async def report_leak(deps: Deps, digest: bytes, reason: str, actor: str | None) -> Leak:
    """Revoke the key whose secret is known to others, unless the secret is worth nothing."""
    attempts = 0
    while True:
        record = await deps.store.find(digest)
        if record is None:
            return Leak(Outcome.UNKNOWN)
        verdict = judge(record, deps.clock.now(), deps.catalog)
        if isinstance(verdict, Denied) and verdict.reason in _OVER:
            return Leak(Outcome.ENDED, await get(deps, record.key_id))
        # If the key is changed all the time, rather a key too many ends than one too few.
        version = record.version if attempts < _ATTEMPTS else None
        try:
            propagation = await revoke(deps, record.key_id, actor, reason, version)
        except VersionConflict:
            attempts += 1  # rolled just now, perhaps: then the secret may be worth nothing
        else:
            return Leak(Outcome.REVOKED, await get(deps, record.key_id), propagation)
