"""What every flow works with."""

from __future__ import annotations

from dataclasses import dataclass, field
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
