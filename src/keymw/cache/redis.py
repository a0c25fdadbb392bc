"""L2: Redis as a cache that several processes share, and as the way they hear of changes.

Redis is never the truth and its absence is never an error to a request: a question that is not
answered in time is answered with nothing, and after a failure Redis is left alone for
`Settings.redis_retry` seconds (`breaker.py`). One class serves both faces: `settle` is how a reply
of the client becomes a value.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from keymw.cache import scripts
from keymw.errors import SharedCacheUnavailable
from keymw.ports import Invalidation

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


class RedisCache:
    """The `SharedCache` port on redis-py, blocking or asynchronous.

    Args:
        client: for commands that answer at once.
        follower: a client of its own for the blocking read of the stream, whose timeout is longer.
        settle: `at_once` for blocking clients, `awaited` for asynchronous ones.
        settings: names and times.
        breaker: the state of `client`'s connections.
        follower_breaker: that of the follower's.
    """

    def __init__(
        self,
        client: Any,
        follower: Any,
        settle: Settle,
        settings: Settings,
        breaker: Breaker,
        follower_breaker: Breaker,
    ) -> None:
        self._client = client
        self._follower = follower
        self._settle = settle
        self._prefix = settings.redis_prefix
        self._store = ""
        self._tombstone_ms = _milliseconds(2 * settings.max_age + settings.store_timeout)
        self._breaker = breaker
        self._follower_breaker = follower_breaker
        self._cursor: bytes | None = None
        self._closed = False

    def belong_to(self, store: str) -> None:
        """Keep apart from other databases' values and changes, from before the first use."""
        self._store = f"{store}:"

    async def get(self, digest: bytes) -> bytes | None:
        """Return the value under a digest, as it lies there."""
        return (await self.get_many([digest]))[0]

    async def get_many(self, digests: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under some digests, in one command."""
        nothing: list[bytes | None] = [None] * len(digests)
        if not self._breaker.permits("get"):
            return nothing
        reply = await self._ask("get", "mget", [self._value(digest) for digest in digests])
        if not isinstance(reply, list) or len(reply) != len(digests):
            return nothing
        return [item if isinstance(item, bytes) else None for item in reply]

    async def fill(
        self, digest: bytes, value: bytes, entities: tuple[tuple[str, int], ...], ttl: float
    ) -> bool:
        """Store a value for `ttl` seconds; False if one of its entities has a newer version."""
        if not self._breaker.permits("fill"):
            return True
        names = [self._value(digest), *(self._tombstone(entity) for entity, _ in entities)]
        versions = [version for _, version in entities]
        arguments = (value, _milliseconds(ttl), *versions)
        reply = await self._ask("fill", "eval", scripts.FILL, len(names), *names, *arguments)
        return bool(reply != 0)

    async def publish(self, invalidation: Invalidation) -> bool:
        """Delete the values, remember the version, tell every process. True if Redis has it.

        It is tried whatever has failed before: changes are rare, and each of them counts.
        """
        names = [self._tombstone(invalidation.entity), self._stream]
        names += [self._value(digest) for digest in invalidation.digests]
        message = json.dumps([invalidation.entity, invalidation.version])
        arguments = (invalidation.version, self._tombstone_ms, message, _STREAM_LENGTH)
        reply = await self._ask("publish", "eval", scripts.PUBLISH, len(names), *names, *arguments)
        return bool(reply == 1)

    async def follow(self, timeout: float) -> list[Invalidation]:  # noqa: ASYNC109
        """Wait at most `timeout` seconds for invalidations; the first call only takes a stand.

        Raises:
            SharedCacheUnavailable: Redis cannot be asked, or the cache was closed meanwhile; the
                caller paces itself.
        """
        if self._closed:
            raise SharedCacheUnavailable("It has been closed.")
        try:
            found = await self._read_stream(_milliseconds(timeout))
        except Exception as error:  # a reply that is not Redis's breaks its client in any way
            if not self._closed:
                self._follower_breaker.failed("follow", error)
            raise SharedCacheUnavailable(f"{type(error).__name__}: {error}") from error
        self._follower_breaker.succeeded("follow")
        return found

    async def _read_stream(self, milliseconds: int) -> list[Invalidation]:
        if self._cursor is None:
            newest = await self._settle(self._follower.xrevrange(self._stream, count=1))
            self._cursor = newest[0][0] if newest else b"0-0"
            return []
        reply = await self._settle(
            self._follower.xread({self._stream: self._cursor}, count=1000, block=milliseconds)
        )
        found: list[Invalidation] = []
        for _, messages in reply.items() if isinstance(reply, dict) else reply or ():
            for position, fields in _flat(messages):
                self._cursor = position
                invalidation = _parse_message(fields.get(b"m"))
                if invalidation is not None:
                    found.append(invalidation)
        return found

    async def aclose(self) -> None:
        """Give back the connections, and end a wait for invalidations."""
        self._closed = True
        for client in (self._client, self._follower):
            close = getattr(client, "aclose", None) or client.close
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

    def _value(self, digest: bytes) -> str:
        return f"{self._prefix}:v:{self._store}{digest.hex()}"

    def _tombstone(self, entity: str) -> str:
        return f"{self._prefix}:t:{self._store}{entity}"

    @property
    def _stream(self) -> str:
        return f"{self._prefix}:{self._store}changes"


def _flat(messages: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Unwrap the extra list that redis-py puts around a stream's messages under RESP3."""
    if messages and isinstance(messages[0], list):
        return [message for inner in messages for message in inner]
    return list(messages)


def _parse_message(raw: bytes | None) -> Invalidation | None:
    """Return what a message says; one that is not keymw's says nothing."""
    try:
        entity, version = json.loads(raw or b"")
    except (ValueError, TypeError, RecursionError):
        return None
    if isinstance(entity, str) and isinstance(version, int):
        return Invalidation(entity, version)
    return None


def _milliseconds(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
