"""What a process knows to have changed, so that it refuses what is older.

Every answer of the store is stamped with its *position*, the number of the last event that had
happened when it was read. An answer is outdated if it was made of an older version than one that
was known at a later position; and it is refused, too, if it is from so long ago that what is known
may have a gap since then.

An older version from a later position is a contradiction, which only a database can bring about
that has lost its last changes (a failover, a restored copy). Then the database is right.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keymw.ports import Invalidation


_UNKNOWN = (0, 0)


class Floors:
    """The versions that keys and users have reached. Bounded; no method is safe to share."""

    def __init__(self, size: int) -> None:
        self._size = size
        #: For each entity its version, and the position at which that was known.
        self._versions: OrderedDict[str, tuple[int, float]] = OrderedDict()
        #: Every change is known that is numbered above this, up to `seen`.
        self.since = 0
        #: Every change up to here has been applied.
        self.seen = 0
        #: The last position that was heard of; the store cannot be behind it, unless it went back.
        self.highest = 0

    def admit(self, entities: Sequence[tuple[str, int]], position: int) -> bool:
        """Say whether an answer of this position, made of these versions, may be up to date."""
        if position < self.since:
            return False
        for entity, version in entities:
            known, at = self._versions.get(entity, _UNKNOWN)
            if version < known and position < at:
                return False
        return True

    def raise_to(self, entity: str, version: int, position: int) -> bool:
        """Learn that an entity has reached a version by some position; False if that was known.

        Position 0 says that it is not known when that was.
        """
        self.highest = max(self.highest, position)
        if version <= self._versions.get(entity, _UNKNOWN)[0]:
            return False
        self._versions[entity] = (version, position or inf)
        self._versions.move_to_end(entity)
        if len(self._versions) > self._size:
            _, (_, forgotten) = self._versions.popitem(last=False)
            self.since = max(self.since, self.seen if forgotten == inf else int(forgotten))
        return True

    def note(self, change: Invalidation) -> bool:
        """Note that a change has been applied; False if one that came before it has not been."""
        if change.seq == self.seen + 1:
            self.reach(change.seq)
        return change.seq <= self.seen

    def reach(self, position: int) -> None:
        """Note that every change up to a position has been applied."""
        self.seen = max(self.seen, position)
        self.highest = max(self.highest, position)

    def forget_before(self, seq: int) -> None:
        """Know of changes only from this one on."""
        self.since = max(self.since, seq - 1)

    def restart(self, position: int) -> None:
        """Forget everything, and know of changes from this position on."""
        self._versions.clear()
        self.since = self.seen = self.highest = position
