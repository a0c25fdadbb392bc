"""Looks a key up that L1 does not have: in the shared cache, then in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.cache import codec
from keymw.cache.local import Entry
from keymw.errors import StoreUnavailable
from keymw.flows.deps import shared_cache
from keymw.http import UNAVAILABLE
from keymw.model import Granted
from keymw.policy import judge

if TYPE_CHECKING:
    from datetime import datetime

    from keymw.flows.deps import Deps
    from keymw.model import Verdict
    from keymw.policy import Record

#: How often a lookup is repeated that a change has overtaken.
_ATTEMPTS = 3
#: Seconds that the clocks of two machines may differ by; more costs the use of each other's values.
_CLOCK_SKEW = 1.0


async def load(deps: Deps, digest: bytes) -> Verdict:
    """Return the verdict on a digest that L1 does not have, and keep it there.

    A grant that a change has overtaken is thrown away, and the store is asked again; after a few
    times, or a while, the key is said to be uncheckable. A refusal that a change has overtaken is
    not remembered, but it is right: it was read after the request had begun. Otherwise a busy
    fleet would turn every 401 into a 503. Raises `StoreUnavailable`.
    """
    until = deps.clock.monotonic() + deps.settings.store_timeout
    generation = deps.local.generation
    known = await _ask_shared(deps, digest)
    if known is not None and deps.local.put_granted(digest, known, generation):
        return known.verdict
    for attempt in range(_ATTEMPTS):
        if attempt and deps.clock.monotonic() >= until:
            break
        generation = deps.local.generation
        entry = await _ask_store(deps, digest)
        if entry is None:
            continue
        if not isinstance(entry.verdict, Granted):
            deps.local.put_denied(digest, entry, generation)
            return entry.verdict
        if deps.local.put_granted(digest, entry, generation):
            return entry.verdict
    return UNAVAILABLE


async def _ask_shared(deps: Deps, digest: bytes) -> Entry | None:
    shared = await shared_cache(deps)
    if shared is None:
        return None
    entry = _believe(deps, digest, await shared.get(digest))
    if entry is not None:
        deps.counters.l2_hits += 1
    return entry


async def _ask_store(deps: Deps, digest: bytes) -> Entry | None:
    """Return what the store says; None if Redis knows by now that something newer is true."""
    observed, at = deps.clock.monotonic(), deps.clock.now()
    deps.counters.store_reads += 1
    try:
        record = await deps.store.find(digest)
    except StoreUnavailable:
        deps.counters.store_errors += 1
        raise
    deps.counters.store_answers += 1
    verdict = judge(record, deps.clock.now(), deps.catalog)
    if record is None or not isinstance(verdict, Granted):
        entities = () if record is None else record.entities
        return Entry(verdict, observed, observed + deps.settings.negative_max_age, entities)
    entry = _entry(deps, verdict, record, at, observed)
    left = entry.deadline - deps.clock.monotonic()
    if deps.shared is not None and left > 0:
        value = codec.encode(codec.Value(record, at), digest, deps.signing_keys)
        if not await deps.shared.fill(digest, value, record.entities, left):
            return None
    return entry


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
    entry = _entry(deps, verdict, value.record, value.observed, monotonic - max(age, 0.0))
    return entry if deps.clock.monotonic() < entry.deadline else None


def _entry(deps: Deps, verdict: Verdict, record: Record, at: datetime, observed: float) -> Entry:
    life = deps.settings.max_age
    if record.ends_at is not None:
        life = min(life, (record.ends_at - at).total_seconds())
    return Entry(verdict, observed, observed + life, record.entities)
