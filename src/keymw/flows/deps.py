"""What every flow works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from keymw.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keymw.cache.local import LocalCache
    from keymw.ports import Clock, SharedCache, Store
    from keymw.scopes import ScopeCatalog
    from keymw.settings import Settings


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


async def shared_cache(deps: Deps) -> SharedCache | None:
    """Return the shared cache, once the store has said what in it is its own.

    Two databases may share a Redis: neither hears of the other's changes. Raises
    `StoreUnavailable`.
    """
    if deps.shared is not None and not deps.signing_keys:
        signing_keys = await deps.store.signing_keys()
        deps.shared.belong_to(sha256(b"keymw names" + signing_keys[0]).hexdigest()[:16])
        deps.signing_keys = signing_keys
    return deps.shared
