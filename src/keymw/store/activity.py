"""What the activity log says of a change. Never a secret or a digest."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keymw.model import Key
    from keymw.ports import Update

_LOGGED = ("label", "mask", "scopes", "projects", "organizations", "expires_at", "revoked_at")


def difference(before: Key | None, change: Update) -> tuple[dict[str, object], dict[str, object]]:
    """Return, as JSON values, what changed of a key: as it was (nothing, if new) and as it is."""
    old = {} if before is None else _describe(before)
    new = _describe(change.key)
    changed = [name for name in _LOGGED if old.get(name) != new[name]]
    was = {name: old[name] for name in changed if name in old}
    now = {name: new[name] for name in changed}
    if change.retired_until is not None and change.retired_until > change.at:
        now["old_secret_until"] = _plain(change.retired_until)
    return was, now


def _describe(key: Key) -> dict[str, object]:
    return {name: _plain(getattr(key, name)) for name in _LOGGED}


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return value.isoformat() if isinstance(value, datetime) else value
