"""Every operation of more than one step, written once, over ports.

Each `await` is a place where the caller may be cancelled, so what is written first is what must
hold: a change is committed before anybody is told of it, and a verdict that L1 refused is never
used. Nothing here reads a clock but the one handed in, imports asyncio, or holds a lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from keymw.cache import codec
from keymw.cache.local import Entry
from keymw.errors import (
    InvalidInput,
    KeyNotFound,
    KeyNotUsable,
    NotMigrated,
    SharedCacheUnavailable,
    StoreUnavailable,
)
from keymw.http import UNAVAILABLE
from keymw.model import Granted, IssuedKey, Key, Propagation, Verdict
from keymw.policy import judge
from keymw.ports import Invalidation, Update
from keymw.scopes import check_grant
from keymw.tokens import digest as digest_of
from keymw.tokens import generate, mask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime

    from keymw.cache.local import LocalCache
    from keymw.policy import Record
    from keymw.ports import Clock, SharedCache, Store
    from keymw.scopes import ScopeCatalog
    from keymw.settings import Settings

#: How often a lookup is repeated that a change has overtaken.
_ATTEMPTS = 3
#: Seconds that the clocks of two machines may differ by; more costs the use of each other's values.
_CLOCK_SKEW = 1.0
_FEED_PAGE = 500


@dataclass(slots=True)
class Counters:
    """What the flows count; L1 counts its own hits."""

    l2_hits: int = 0
    l2_errors: int = 0
    store_reads: int = 0
    store_answers: int = 0
    store_errors: int = 0
    invalidations: int = 0


@dataclass(slots=True)
class Deps:
    """What a flow works with."""

    store: Store
    shared: SharedCache | None
    local: LocalCache
    clock: Clock
    settings: Settings
    catalog: ScopeCatalog | None
    counters: Counters = field(default_factory=Counters)
    #: Loaded from the store before the shared cache is first used.
    signing_keys: Sequence[bytes] = ()


# ---- looking a key up -------------------------------------------------------------------------


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
    if deps.shared is None:
        return None
    if not deps.signing_keys:
        deps.signing_keys = await deps.store.signing_keys()
    entry = _believe(deps, digest, await deps.shared.get(digest))
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


# ---- changing keys ----------------------------------------------------------------------------


async def issue(deps: Deps, key: Key, scopes: Iterable[str], actor: str | None) -> IssuedKey:
    """Make a secret for a new key and store its digest."""
    key = _checked(deps, key, scopes)
    token = generate(deps.settings.prefixes(key.kind)[0])
    key = replace(key, mask=mask(token))
    changed = await deps.store.insert(key, digest_of(token.encode()), "issued", actor)
    await _announce(deps, changed.invalidation)
    return IssuedKey(changed.key, token)


async def adopt(
    deps: Deps, key: Key, digest: bytes, scopes: Iterable[str], actor: str | None
) -> Key:
    """Store a key whose secret was made elsewhere."""
    changed = await deps.store.insert(_checked(deps, key, scopes), digest, "imported", actor)
    await _announce(deps, changed.invalidation)
    return changed.key


def _checked(deps: Deps, key: Key, scopes: Iterable[str]) -> Key:
    if key.expires_at is not None and key.expires_at <= key.created_at:
        raise InvalidInput("expires_at", f"{key.expires_at.isoformat()} is in the past.")
    return replace(key, scopes=check_grant(key.kind, scopes, deps.catalog))


async def update(
    deps: Deps, key_id: str, label: str | None, scopes: Iterable[str] | None, actor: str | None
) -> Key:
    """Change label or scopes; what is None stays."""
    wanted = None if scopes is None else tuple(scopes) if not isinstance(scopes, str) else scopes

    def plan(key: Key) -> Update | None:
        _require_usable(key, deps.clock.now())
        after = key if label is None else replace(key, label=label)
        if wanted is not None:
            after = replace(after, scopes=check_grant(key.kind, wanted, deps.catalog))
        return None if after == key else Update("updated", after, deps.clock.now(), actor)

    changed = await deps.store.change(key_id, plan)
    return replace(changed.key, propagation=await _announce(deps, changed.invalidation))


async def roll(deps: Deps, key_id: str, grace: timedelta, actor: str | None) -> IssuedKey:
    """Give a key a new secret; the old one works for `grace` more."""
    if not isinstance(grace, timedelta):
        raise InvalidInput("grace", f"give a timedelta, not {type(grace).__name__}.")
    if grace < timedelta(0):
        raise InvalidInput("grace", "it cannot be negative.")
    token = ""

    def plan(key: Key) -> Update:
        nonlocal token
        now = deps.clock.now()
        _require_usable(key, now)
        token = generate(deps.settings.prefixes(key.kind)[0])
        after = replace(key, mask=mask(token), last_rolled_at=now)
        try:
            until = now + grace
        except OverflowError:
            raise InvalidInput("grace", "it ends after the last date there is.") from None
        return Update("rolled", after, now, actor, digest_of(token.encode()), until)

    changed = await deps.store.change(key_id, plan)
    return IssuedKey(changed.key, token, await _announce(deps, changed.invalidation))


async def revoke(deps: Deps, key_id: str, actor: str | None) -> Propagation:
    """End a key for good. Revoking again changes nothing but tells everybody once more."""

    def plan(key: Key) -> Update | None:
        now = deps.clock.now()
        if key.revoked_at is not None:
            return None
        return Update("revoked", replace(key, revoked_at=now), now, actor)

    changed = await deps.store.change(key_id, plan)
    return await _announce(deps, changed.invalidation)


async def set_user(deps: Deps, user_id: str, *, active: bool, actor: str | None) -> Propagation:
    """End, or give back, all of a user's personal keys in one step."""
    now = deps.clock.now()
    invalidation = await deps.store.set_user(user_id, active=active, at=now, actor=actor)
    return await _announce(deps, invalidation)


async def get(deps: Deps, key_id: str) -> Key:
    """Return a key or raise `KeyNotFound`."""
    key = await deps.store.get(key_id)
    if key is None:
        raise KeyNotFound(key_id)
    return key


def _require_usable(key: Key, now: datetime) -> None:
    if key.revoked_at is not None:
        raise KeyNotUsable(f"The key {key.id!r} has been revoked: issue a new one.")
    if key.expires_at is not None and key.expires_at <= now:
        raise KeyNotUsable(f"The key {key.id!r} has expired: issue a new one.")


async def _announce(deps: Deps, invalidation: Invalidation) -> Propagation:
    """Tell everybody of a committed change; this process believes it in any case."""
    deps.local.invalidate(invalidation)
    acknowledged = deps.shared is not None and await deps.shared.publish(invalidation)
    return Propagation(acknowledged, timedelta(seconds=deps.settings.max_age))


# ---- hearing of changes -----------------------------------------------------------------------


async def follow(deps: Deps, nap: Callable[[float], Awaitable[bool]]) -> None:
    """Apply what others change, until `nap` says that it is time to stop.

    Redis tells within milliseconds; the store's feed, looked at every `poll_interval` seconds,
    tells what Redis lost, and everything where there is no Redis.
    """
    seq: int | None = None
    while True:
        try:
            seq = await _position(deps) if seq is None else await _poll(deps, seq)
        except StoreUnavailable:
            deps.counters.store_errors += 1
        # Counted from here, so that a slow database is not asked without a pause.
        next_poll = deps.clock.monotonic() + deps.settings.poll_interval
        shared = deps.shared
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
