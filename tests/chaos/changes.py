"""The ways in which keys end, and the keys that are made to end so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos.fleet import Revoker

if TYPE_CHECKING:
    from collections.abc import Callable

_SEVERAL = 3


@dataclass(frozen=True, slots=True)
class Ended:
    """What is known once keys have ended. Times are monotonic seconds."""

    #: When the call returned, or when whoever called was killed.
    at: float
    #: None if nobody was told.
    acknowledged: bool | None = None
    #: What the call promised, in seconds; None if nobody was told.
    bound: float | None = None
    #: A token that is good from now on.
    successor: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Makes keys, and returns what ends them; each key has its `id` and `token`."""

    prepare: Callable[[Any], tuple[list[dict[str, str]], Callable[[], Ended]]]


def _by(call):
    """Return the end of keys by one call that answers."""
    return Ended(call["returned"], call["acknowledged"], call["bound"], call.get("token"))


def _revoke(fleet):
    key = fleet.issue("revoked")
    return [key], lambda: _by(fleet.revoker.call("revoke", key["id"]))


def _roll(fleet):
    key = fleet.issue("rolled")
    return [key], lambda: _by(fleet.revoker.call("roll", key["id"]))


def _deactivate(fleet):
    user = os.urandom(8).hex()
    keys = [fleet.issue_personal(user) for _ in range(_SEVERAL)]
    return keys, lambda: _by(fleet.revoker.call("deactivate_user", user))


def _die(fleet):
    key = fleet.issue("abandoned")
    doomed = Revoker(fleet, "--doomed")

    def end():
        killed = doomed.try_to("revoke", key["id"])
        doomed.end()
        return Ended(killed["returned"])

    return [key], end


REVOKE, ROLL, DEACTIVATE, DIE = map(Change, (_revoke, _roll, _deactivate, _die))
