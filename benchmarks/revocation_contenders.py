"""keymw and the plain cache: how a worker asks each, and how each is told to revoke."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keymw import Granted, Reason
from revocation_watch import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keymw import KeyService
    from keymw.model import CacheStats, Verdict
    from revocation_plain import PlainCache

KEYMW = "keymw"
PLAIN = "TTL + pub/sub"
_NAMES = {KEYMW: "keymw", PLAIN: "plain"}
#: Seconds that the plain cache believes an answer; keymw's own `max_age` is the same.
TTL = 30.0


def client_name(contender: str) -> str:
    """Return the name that the workers' connections to Redis have: it tells which are to be cut."""
    return f"{_NAMES[contender]}-worker"


class KeymwChecker:
    """keymw in a worker, of either face."""

    def __init__(
        self, verify: Callable[[str], Awaitable[Verdict]], stats: Callable[[], CacheStats]
    ) -> None:
        self._verify = verify
        self._stats = stats

    async def check(self, token: str) -> Answer:
        """Ask for a key."""
        verdict = await self._verify(token)
        if isinstance(verdict, Granted):
            return Answer.ACCEPTED
        return Answer.UNKNOWN if verdict.reason is Reason.UNAVAILABLE else Answer.REFUSED

    async def holds(self, token: str) -> bool:
        """Ask for a key; True if L1 had it."""
        before = self._stats().l1_hits
        return await self.check(token) is Answer.ACCEPTED and self._stats().l1_hits > before


class PlainChecker:
    """The plain cache in a worker: the dict on the spot, anything else on a thread."""

    def __init__(self, cache: PlainCache) -> None:
        self._cache = cache

    async def check(self, token: str) -> Answer:
        """Ask for a key."""
        found = self._cache.peek(token)
        if found is None:
            found = await asyncio.to_thread(self._cache.load, token)
        return Answer.REFUSED if found is None else Answer.ACCEPTED

    async def holds(self, token: str) -> bool:
        """Ask for a key; True if the dict had it."""
        if self._cache.peek(token) is not None:
            return True
        await self.check(token)
        return False


@dataclass(frozen=True)
class Outcome:
    """What a revoke says of itself as it returns."""

    acknowledged: bool
    #: Seconds after which the key is refused everywhere.
    bound: float


class Revoker(Protocol):
    """A cache as the revoker sees it."""

    name: str

    def issue(self) -> tuple[str, str]:
        """Make a key; return its token, and what it is revoked by."""
        ...

    def revoke(self, handle: str) -> Outcome:
        """End a key."""
        ...


class KeymwRevoker:
    """Revokes through keymw."""

    name = KEYMW

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys
        self._issued = 0

    def issue(self) -> tuple[str, str]:
        """Make a key; return its token, and its id."""
        self._issued += 1
        issued = self._keys.issue_project_key("2", f"key {self._issued}", ["endpoint:read"])
        return issued.token, issued.key.id

    def revoke(self, handle: str) -> Outcome:
        """End a key by its id."""
        propagation = self._keys.revoke(handle)
        return Outcome(propagation.acknowledged, propagation.bound.total_seconds())


class PlainRevoker:
    """Revokes through the plain cache."""

    name = PLAIN

    def __init__(self, cache: PlainCache) -> None:
        self._cache = cache
        self._issued = 0

    def issue(self) -> tuple[str, str]:
        """Make a key; return its token, by which it is revoked too."""
        self._issued += 1
        token = self._cache.issue(f"key {self._issued}")
        return token, token

    def revoke(self, handle: str) -> Outcome:
        """End a key. Nothing says whether anybody has heard; only the TTL is sure."""
        self._cache.revoke(handle)
        return Outcome(acknowledged=True, bound=TTL)
