"""What L1 evicts: SIEVE (Zhang et al., NSDI 2024), an order that reading does not change.

A read only marks its entry, so that hits take no lock. The entries stand in the order in which they
came. A hand goes from the oldest towards the newest and stays where it has stopped: it takes the
marks off that it meets and evicts the first entry without one. What nobody asks for twice, as in a
scan, is gone before it can push out what is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from cachetools import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator


class Marked(Protocol):
    """What the cache wants of its entries; the places are the cache's own."""

    #: Whether the entry has been read since the hand was here. Whoever reads it sets this.
    visited: bool
    older: Self | None
    newer: Self | None
    key: bytes


E = TypeVar("E", bound=Marked)


class Sieve(Cache[bytes, E]):
    """A bounded mapping. An entry may be in one at a time; writers need a lock, readers none."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self._newest: E | None = None
        self._oldest: E | None = None
        self._hand: E | None = None

    def __setitem__(self, key: bytes, entry: E) -> None:
        self.pop(key, None)
        super().__setitem__(key, entry)
        entry.key, entry.visited = key, False
        entry.older, entry.newer = self._newest, None
        if self._newest is None:
            self._oldest = entry
        else:
            self._newest.newer = entry
        self._newest = entry

    def __delitem__(self, key: bytes) -> None:
        entry = self[key]
        super().__delitem__(key)
        older, newer = entry.older, entry.newer
        if entry is self._hand:
            self._hand = newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        entry.older = entry.newer = None

    def popitem(self) -> tuple[bytes, E]:
        """Evict the next entry; `KeyError` if there is none."""
        for entry in self._from_the_hand():
            if not entry.visited:
                self._hand = entry.newer
                key = entry.key
                del self[key]
                return key, entry
            entry.visited = False
        raise KeyError(f"{type(self).__name__} is empty.")

    def _from_the_hand(self) -> Iterator[E]:
        """Yield the entries from the hand to the newest, and on from the oldest, over and over."""
        entry = self._hand or self._oldest
        while entry is not None:
            yield entry
            entry = entry.newer or self._oldest

    def clear(self) -> None:
        """Forget everything, at once and not one by one."""
        for key in list(self):
            super().__delitem__(key)
        self._newest = self._oldest = self._hand = None
