"""Notes when keys were last used: one column, only forward, and never a rewrite of the row."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from keymw.store import statements as sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from keymw.ports import Use

T = TypeVar("T", str, bytes)


def touch(uses: Sequence[Use], connection: Connection) -> Sequence[str]:
    """Note uses, as far as they are later than what is known.

    Returns the ids of keys that somebody else is changing at the moment.
    """
    keys = _latest((use.key_id, use.at) for use in uses)
    digests = _latest((use.digest, use.at) for use in uses)
    ids = sorted(keys)
    idle = connection.execute(sql.IDLE_KEYS, {"ids": ids}).scalars().all()
    if idle:
        connection.execute(sql.TOUCH_KEY, [{"used": each, "at": keys[each]} for each in idle])
        wanted = {"ids": idle, "digests": sorted(digests)}
        if old := connection.execute(sql.IDLE_RETIRED, wanted).scalars().all():
            values = [{"used": each, "at": digests[each]} for each in old]
            connection.execute(sql.TOUCH_RETIRED, values)
    missing = set(ids).difference(idle)
    if not missing:
        return ()
    return connection.execute(sql.KNOWN_KEYS, {"ids": sorted(missing)}).scalars().all()


def _latest(uses: Iterable[tuple[T, datetime]]) -> dict[T, datetime]:
    latest: dict[T, datetime] = {}
    for name, at in uses:
        latest[name] = max(at, latest.get(name, at))
    return latest
