"""What every flow works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from keymw.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from threading import Semaphore

    from keymw.cache.local import LocalCache
    from keymw.clock import Clock
    from keymw.ports import Changes, ChangeStream, Invalidation, SharedCache, Store
    from keymw.scopes import ScopeCatalog
    from keymw.settings import Settings

#: Changes that are read from the feed at once; a process that is further behind forgets what is
#: older than they are.
FEED_WINDOW = 1000


@dataclass(slots=True)
class Deps:
    """What a flow works with."""

    store: Store
    #: The store, or somebody else's transaction in it.
    changes: Changes
    shared: SharedCache | None
    local: LocalCache
    clock: Clock
    settings: Settings
    catalog: ScopeCatalog | None
    #: Waits for so many seconds, in the way of the service.
    pause: Callable[[float], Awaitable[object]]
    #: How many lookups may wait for the store at once; nobody waits for it itself.
    turns: Semaphore
    counters: Counters = field(default_factory=Counters)
    #: Loaded from the store before Redis is first used.
    signing_keys: Sequence[bytes] = ()
    #: Collects what is changed in somebody else's transaction; None where changes are committed.
    uncommitted: list[Invalidation] | None = None


async def shared_cache(deps: Deps) -> SharedCache | None:
    """Return the shared cache, once it knows which store it belongs to.

    Raises `StoreUnavailable`.
    """
    if deps.shared is not None:
        await know_store(deps, deps.shared)
    return deps.shared


async def know_store(deps: Deps, redis: SharedCache | ChangeStream) -> None:
    """Have the store say, before the first use, what in Redis is its own.

    Two databases may share a Redis: neither hears of the other's changes. Raises
    `StoreUnavailable`.
    """
    if not deps.signing_keys:
        signing_keys = await deps.store.signing_keys()
        redis.belong_to(sha256(b"keymw names" + signing_keys[0]).hexdigest()[:16])
        deps.signing_keys = signing_keys
