"""Changes keys and users: committed first, then told to everybody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import EllipsisType
from typing import TYPE_CHECKING, TypeVar

from keymw.cache import codec
from keymw.errors import (
    InvalidInput,
    KeyNotFound,
    KeyNotUsable,
    StoreUnavailable,
    VersionConflict,
)
from keymw.flows.deps import FEED_WINDOW, shared_cache
from keymw.model import Deactivation, IssuedKey, Key, Propagation
from keymw.ports import Update
from keymw.principals import KeyKind
from keymw.scopes import check_grant
from keymw.tokens import digest as digest_of
from keymw.tokens import generate, mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keymw.flows.deps import Deps
    from keymw.ports import Invalidation


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

#: What a change returns.
Told = TypeVar("Told", Propagation, Deactivation, Key, IssuedKey)


async def issue(deps: Deps, key: Key, scopes: Iterable[str], actor: str | None) -> IssuedKey:
    """Make a secret for a new key and store its digest."""
    key = _checked(deps, key, scopes)
    token = generate(deps.settings.prefixes(key.kind)[0])
    key = replace(key, mask=mask(token))
    settings = deps.settings
    is_project = key.kind is KeyKind.PROJECT_SECRET
    limit = settings.max_keys_per_project if is_project else settings.max_keys_per_user
    changed = await deps.changes.insert(key, digest_of(token.encode()), "issued", actor, limit)
    await announce(deps, changed.invalidation)
    return IssuedKey(changed.key, token)


async def adopt(
    deps: Deps, key: Key, digest: bytes, scopes: Iterable[str], actor: str | None
) -> Key:
    """Store a key whose secret was made elsewhere."""
    changed = await deps.changes.insert(_checked(deps, key, scopes), digest, "imported", actor)
    await announce(deps, changed.invalidation)
    return changed.key


def _checked(deps: Deps, key: Key, scopes: Iterable[str]) -> Key:
    _require_future(key.expires_at, key.created_at)
    return replace(key, scopes=check_grant(key.kind, scopes, deps.catalog))


async def update(
    deps: Deps,
    key_id: str,
    label: str | None,
    scopes: Iterable[str] | None,
    expires_at: datetime | EllipsisType | None,
    version: int | None,
    actor: str | None,
) -> Key:
    """Change label, scopes or end; what is None, or `...` for the end, stays."""
    wanted = None if scopes is None else tuple(scopes) if not isinstance(scopes, str) else scopes

    def plan(key: Key) -> Update | None:
        now = deps.clock.now()
        _require_usable(key, now, version)
        after = key if label is None else replace(key, label=label)
        if wanted is not None:
            after = replace(after, scopes=check_grant(key.kind, wanted, deps.catalog))
        if not isinstance(expires_at, EllipsisType):
            _require_future(expires_at, now)
            after = replace(after, expires_at=expires_at)
        return None if after == key else Update("updated", after, now, actor)

    changed = await deps.changes.change(key_id, plan)
    return replace(changed.key, propagation=await announce(deps, changed.invalidation))


async def roll(
    deps: Deps, key_id: str, grace: timedelta, version: int | None, actor: str | None
) -> IssuedKey:
    """Give a key a new secret; the old one works for `grace` more."""
    if not isinstance(grace, timedelta):
        raise InvalidInput("grace", f"give a timedelta, not {type(grace).__name__}.")
    if grace < timedelta(0):
        raise InvalidInput("grace", "it cannot be negative.")
    token = ""

    def plan(key: Key) -> Update:
        nonlocal token
        now = deps.clock.now()
        _require_usable(key, now, version)
        token = generate(deps.settings.prefixes(key.kind)[0])
        after = replace(key, mask=mask(token), last_rolled_at=now)
        try:
            # Without grace it is over by every clock, also by one that is behind this one.
            until = now + grace if grace else _LONG_AGO
        except OverflowError:
            raise InvalidInput("grace", "it ends after the last date there is.") from None
        return Update("rolled", after, now, actor, digest_of(token.encode()), until)

    changed = await deps.changes.change(key_id, plan)
    return IssuedKey(changed.key, token, await announce(deps, changed.invalidation))


async def revoke(
    deps: Deps,
    key_id: str,
    actor: str | None,
    reason: str | None = None,
    version: int | None = None,
) -> Propagation:
    """End a key for good. Revoking again changes nothing but tells everybody once more."""

    def plan(key: Key) -> Update | None:
        now = deps.clock.now()
        if key.revoked_at is not None:
            return None
        _require_version(key, version)
        return Update("revoked", replace(key, revoked_at=now), now, actor, reason=reason)

    changed = await deps.changes.change(key_id, plan)
    return await announce(deps, changed.invalidation)


async def deactivate_user(deps: Deps, user_id: str, actor: str | None) -> Deactivation:
    """End all of a user's personal keys in one step."""
    now = deps.clock.now()
    changed = await deps.changes.set_user(user_id, active=False, at=now, actor=actor)
    told = await announce(deps, changed.invalidation)
    return Deactivation(told.acknowledged, told.bound, changed.personal_keys, changed.project_keys)


async def activate_user(deps: Deps, user_id: str, actor: str | None) -> Propagation:
    """Give all of a user's personal keys back in one step."""
    now = deps.clock.now()
    changed = await deps.changes.set_user(user_id, active=True, at=now, actor=actor)
    return await announce(deps, changed.invalidation)


async def get(deps: Deps, key_id: str) -> Key:
    """Return a key or raise `KeyNotFound`."""
    key = await deps.store.get(key_id)
    if key is None:
        raise KeyNotFound(key_id)
    return key


def _require_usable(key: Key, now: datetime, version: int | None) -> None:
    if key.revoked_at is not None:
        raise KeyNotUsable(f"The key {key.id!r} has been revoked: issue a new one.")
    if key.expires_at is not None and key.expires_at <= now:
        raise KeyNotUsable(f"The key {key.id!r} has expired: issue a new one.")
    _require_version(key, version)


def _require_version(key: Key, version: int | None) -> None:
    if version is not None and version != key.version:
        raise VersionConflict(key.version)


def _require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("expires_at", f"{expires_at.isoformat()} is in the past.")


async def announce(deps: Deps, invalidation: Invalidation) -> Propagation:
    """Tell everybody of a change, once it is committed."""
    told = False
    if deps.uncommitted is None:
        told = await _tell(deps, invalidation)
    else:
        deps.uncommitted.append(invalidation)
    settings = deps.settings
    bound = settings.acknowledged_bound if told else settings.unacknowledged_bound
    return Propagation(told, timedelta(seconds=bound))


async def _tell(deps: Deps, invalidation: Invalidation) -> bool:
    """Tell of a committed change; this process believes it in any case. True if Redis has it."""
    deps.local.invalidate(invalidation)
    try:
        shared = await shared_cache(deps)
    except StoreUnavailable:  # gone since the commit: the change holds, and nobody was told
        return False
    if shared is None:
        return False
    message = codec.encode_change(invalidation, deps.signing_keys)
    return await shared.publish(invalidation.digests, message)


async def tell_committed(deps: Deps, made: Sequence[Invalidation]) -> None:
    """Tell of changes made in somebody else's transaction, as far as it has been committed.

    Whether it has is the store's word: a part of it may have been rolled back. What is not told
    here, because the store does not answer for instance, is found in the feed.
    """
    first = min((change.seq for change in made if change.seq), default=None)
    if first is None:
        return
    try:
        _, events = await deps.store.feed(first - 1, FEED_WINDOW + len(made))
    except StoreUnavailable:
        return
    committed = {(event.seq, event.entity, event.version) for event in events}
    is_heard = True
    for change in made:
        if (change.seq, change.entity, change.version) not in committed:
            continue
        if is_heard:
            is_heard = await _tell(deps, change)
        else:  # a Redis that hangs costs one wait, not one a change: the commit's owner waits too
            deps.local.invalidate(change)


async def settled(deps: Deps, told: Told) -> Told:
    """Wait until a change holds everywhere, even if Redis forgets it meanwhile."""
    await deps.pause(deps.settings.unacknowledged_bound)
    if isinstance(told, Propagation):
        return replace(told, bound=timedelta(0))
    if told.propagation is None:
        return told
    return replace(told, propagation=replace(told.propagation, bound=timedelta(0)))
