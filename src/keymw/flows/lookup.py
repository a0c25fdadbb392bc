"""Looks a key up that L1 does not have: in the shared cache, then in the store."""

from __future__ import annotations

import secrets
from math import inf
from typing import TYPE_CHECKING

from keymw.cache import codec
from keymw.cache.local import Entry
from keymw.errors import StoreUnavailable
from keymw.flows.deps import shared_cache
from keymw.http import UNAVAILABLE
from keymw.model import Granted
from keymw.policy import judge
from keymw.ports import Turn

if TYPE_CHECKING:
    from datetime import datetime

    from keymw.flows.deps import Deps
    from keymw.model import Verdict
    from keymw.policy import Record

#: How often a lookup is repeated that a change has overtaken.
_ATTEMPTS = 3
#: Seconds that the clocks of two machines may differ by; more costs the use of each other's values.
_CLOCK_SKEW = 1.0
#: Seconds between two looks whether another process has filled in what this one wants.
_GLANCE = 0.005


async def load(deps: Deps, digest: bytes) -> Entry:
    """Return the verdict on a digest that L1 does not have, and keep it there.

    A grant that a change has overtaken is thrown away, and all begins anew; after a few times, or a
    while, the key is said to be uncheckable. A refusal that a change has overtaken is not
    remembered, but it is right: it was read after the request had begun. Otherwise a busy fleet
    would turn every 401 into a 503. Raises `StoreUnavailable`.
    """
    until = deps.clock.monotonic() + deps.settings.store_timeout
    for attempt in range(_ATTEMPTS):
        if attempt and deps.clock.monotonic() >= until:
            break
        generation = deps.local.generation
        known, token = None, None
        if attempt < _ATTEMPTS - 1:
            # The last time without it: who deletes there again and again shall not deny anything.
            known, token = await _ask_shared(deps, digest)
        if known is not None:
            return known
        entry = await _ask_store(deps, digest, token)
        if entry is None:
            continue
        if not isinstance(entry.verdict, Granted):
            deps.local.put_denied(digest, entry, generation)
            return entry
        if deps.local.put_granted(digest, entry, deps.clock.monotonic()):
            return entry
    return Entry(UNAVAILABLE, 0.0)


async def _ask_shared(deps: Deps, digest: bytes) -> tuple[Entry | None, bytes | None]:
    """Return what the shared cache has; else the token with which the caller may fill it.

    A key that many processes want at once is read by one of them. The others wait for it, a while:
    it may have died.
    """
    shared = await shared_cache(deps)
    if shared is None or deps.clock.monotonic() >= deps.local.fence.until:
        return None, None
    token = secrets.token_bytes(8)
    until = deps.clock.monotonic() + deps.settings.fill_patience
    raw = await shared.get(digest)
    while True:
        entry = _believe(deps, digest, raw)
        if entry is not None and deps.local.put_granted(digest, entry, deps.clock.monotonic()):
            deps.counters.l2_hits += 1
            return entry, None
        turn = await shared.reserve(digest, token, raw or b"")
        if isinstance(turn, bytes):
            raw = turn
        elif turn is Turn.TAKEN:
            await deps.pause(_GLANCE)
        else:
            return None, token if turn is Turn.MINE else None
        if deps.clock.monotonic() >= until:
            return None, None


async def _ask_store(deps: Deps, digest: bytes, token: bytes | None) -> Entry | None:
    """Return what the store says; None if Redis knows by now that something newer is true."""
    observed, at = deps.clock.monotonic(), deps.clock.now()
    try:
        record = await _find(deps, digest)
    except StoreUnavailable:
        await _release(deps, digest, token)
        raise
    if record is not None:
        deps.local.learn(record.entities, record.position)
    verdict = judge(record, deps.clock.now(), deps.catalog)
    alone_until = observed + deps.settings.stream_lease
    if record is None or not isinstance(verdict, Granted):
        await _release(deps, digest, token)
        entities, position = ((), 0) if record is None else (record.entities, record.position)
        deadline = observed + deps.settings.negative_max_age
        return Entry(verdict, deadline, alone_until, entities, position)
    entry = _entry(deps, verdict, record, at, observed, alone_until)
    is_valid = await _fill(deps, digest, token, codec.Value(record, at), entry.deadline)
    return entry if is_valid else None


async def _fill(
    deps: Deps, digest: bytes, token: bytes | None, value: codec.Value, deadline: float
) -> bool:
    """Share what was read until its deadline. False if a change has overtaken it."""
    left = deadline - deps.clock.monotonic()
    if token is None or deps.shared is None or left <= 0:
        await _release(deps, digest, token)
        return True
    raw = codec.encode(value, digest, deps.signing_keys)
    return await deps.shared.fill(digest, token, raw, left)


async def _release(deps: Deps, digest: bytes, token: bytes | None) -> None:
    """Let another process read what this one did not fill."""
    if token is not None and deps.shared is not None:
        await deps.shared.release(digest, token)


async def _find(deps: Deps, digest: bytes) -> Record | None:
    if not deps.turns.acquire(blocking=False):
        raise StoreUnavailable(
            "Too many keys are being looked up in the database at once: see max_store_lookups."
        )
    deps.counters.store_reads += 1
    try:
        record = await deps.store.find(digest)
    except StoreUnavailable:
        deps.counters.store_errors += 1
        raise
    finally:
        deps.turns.release()
    deps.counters.store_answers += 1
    return record


def _believe(deps: Deps, digest: bytes, raw: bytes | None) -> Entry | None:
    """Return an entry for what the shared cache holds, if it is keymw's own and still counts."""
    if raw is None:
        return None
    value = codec.decode(raw, digest, deps.signing_keys)
    if value is None:
        return None
    # In this order, a pause between the two makes the entry end earlier, never later.
    monotonic, now = deps.clock.monotonic(), deps.clock.now()
    verdict = judge(value.record, now, deps.catalog)
    # Its age goes on from when the store was read: a hit must not restart it. A clock that
    # stepped back would do just that, so what seems to come from the future counts for nothing.
    age = (now - value.observed).total_seconds()
    if not isinstance(verdict, Granted) or age < -_CLOCK_SKEW:
        return None
    return _entry(deps, verdict, value.record, value.observed, monotonic - max(age, 0.0))


def _entry(
    deps: Deps,
    verdict: Verdict,
    record: Record,
    at: datetime,
    observed: float,
    alone_until: float = -inf,
) -> Entry:
    """Return a grant as an entry, from when it was observed by both clocks."""
    life = deps.settings.max_age
    if record.ends_at is not None:
        life = min(life, (record.ends_at - at).total_seconds())
    return Entry(verdict, observed + life, alone_until, record.entities, record.position)
