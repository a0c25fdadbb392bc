"""L2: Redis as a cache that several processes share.

Redis is never the truth and its absence is never an error to a request: a question that is not
answered in time is answered with nothing, and after a failure Redis is left alone for
`Settings.redis_retry` seconds (`breaker.py`). One class serves both faces: `settle` is how a reply
of the client becomes a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from keymw.cache import scripts
from keymw.ports import Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from keymw.cache.breaker import Breaker
    from keymw.settings import Settings

_STREAM_LENGTH = 10_000


class Settle(Protocol):
    """Turns what a client method returns into the reply: at once, or by awaiting it."""

    def __call__(self, reply: Any, /) -> Awaitable[Any]:
        """Return the reply."""
        ...


async def at_once(reply: Any) -> Any:
    """Settle the replies of the blocking client, which are there already."""
    return reply


async def awaited(reply: Any) -> Any:
    """Settle the replies of the asynchronous client."""
    return await reply


class Names:
    """The names of what one database's services have in Redis."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._store = ""

    def belong_to(self, store: str) -> None:
        """Keep apart from what other databases' services have there."""
        self._store = store

    def value(self, digest: bytes) -> str:
        """Name the value of a secret."""
        return f"{self._prefix}:v:{self._store}:{digest.hex()}"

    def token(self, digest: bytes) -> str:
        """Name the place of the fill token of a secret."""
        return f"{self._prefix}:f:{self._store}:{digest.hex()}"

    @property
    def stream(self) -> str:
        """Name the stream of changes."""
        return f"{self._prefix}:{self._store}:changes"


class RedisCache:
    """The `SharedCache` port on redis-py, blocking or asynchronous.

    Args:
        client: the client.
        settle: `at_once` for blocking clients, `awaited` for asynchronous ones.
        settings: names and times.
        breaker: the state of the client's connections.
    """

    def __init__(self, client: Any, settle: Settle, settings: Settings, breaker: Breaker) -> None:
        self._client = client
        self._settle = settle
        self._names = Names(settings.redis_prefix)
        # Longer than any read of the store, so that only a change, or a pause, takes it away.
        self._token_ms = milliseconds(settings.patience)
        self._breaker = breaker

    def belong_to(self, store: str) -> None:
        """Keep apart from other databases' values and changes, from before the first use."""
        self._names.belong_to(store)

    async def get(self, digest: bytes) -> bytes | None:
        """Return the value under a digest, as it lies there."""
        return (await self.get_many([digest]))[0]

    async def get_many(self, digests: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under some digests, in one command."""
        nothing: list[bytes | None] = [None] * len(digests)
        if not self._breaker.permits("get"):
            return nothing
        reply = await self._ask("get", "mget", [self._names.value(digest) for digest in digests])
        if not isinstance(reply, list) or len(reply) != len(digests):
            return nothing
        return [item if isinstance(item, bytes) else None for item in reply]

    async def reserve(self, digest: bytes, token: bytes, useless: bytes) -> bytes | Turn:
        """Return the value if one is there by now other than `useless`; else whose turn it is."""
        if not self._breaker.permits("fill"):
            return Turn.NONE
        names = (self._names.value(digest), self._names.token(digest))
        reply = await self._ask(
            "fill", "eval", scripts.RESERVE, 2, *names, token, self._token_ms, useless
        )
        if isinstance(reply, bytes):
            return reply
        return {1: Turn.MINE, 0: Turn.TAKEN}.get(reply, Turn.NONE)

    async def fill(self, digest: bytes, token: bytes, value: bytes, ttl: float) -> bool:
        """Store a value for `ttl` seconds; False if the token is gone."""
        if not self._breaker.permits("fill"):
            return True
        names = (self._names.value(digest), self._names.token(digest))
        reply = await self._ask(
            "fill", "eval", scripts.FILL, 2, *names, token, value, milliseconds(ttl)
        )
        return bool(reply != 0)

    async def release(self, digest: bytes, token: bytes) -> None:
        """Take the token back."""
        if self._breaker.permits("fill"):
            await self._ask("fill", "eval", scripts.RELEASE, 1, self._names.token(digest), token)

    async def publish(self, digests: Sequence[bytes], message: bytes) -> bool:
        """Delete values and tokens, and tell every process. True if Redis has done both.

        It is tried whatever has failed before: changes are rare, and each of them counts.
        """
        names = [self._names.stream, *map(self._names.value, digests)]
        names += map(self._names.token, digests)
        reply = await self._ask(
            "publish", "eval", scripts.PUBLISH, len(names), *names, message, _STREAM_LENGTH
        )
        return bool(reply == 1)

    async def aclose(self) -> None:
        """Give back the connections."""
        close = getattr(self._client, "aclose", None) or self._client.close
        await self._settle(close())

    async def _ask(self, purpose: str, command: str, *arguments: Any) -> Any:
        """Return Redis's reply, or None if it cannot be had now."""
        try:
            reply = await self._settle(getattr(self._client, command)(*arguments))
        except Exception as error:  # noqa: BLE001 - a reply that is not Redis's breaks its client
            self._breaker.failed(purpose, error)
            return None
        self._breaker.succeeded(purpose)
        return reply


def milliseconds(seconds: float) -> int:
    """Return a time as Redis takes it."""
    return max(int(seconds * 1000), 1)
