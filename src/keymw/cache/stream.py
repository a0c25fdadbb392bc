"""How a process hears of changes through Redis: it follows the stream, and knows what it missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.cache.redis import Names, milliseconds
from keymw.errors import SharedCacheUnavailable
from keymw.ports import Heard

if TYPE_CHECKING:
    from redis import Redis

    from keymw.cache.breaker import Breaker
    from keymw.settings import Settings

#: The place in a stream before its first message.
_START = b"0-0"
#: The place after which there is none: no message can follow it.
_END = b"%d-%d" % (2**64 - 1, 2**64 - 1)
_COUNT = 1000


class RedisStream:
    """The `ChangeStream` port on redis-py's blocking client.

    Args:
        client: a client of its own, whose timeout is longer than a wait for messages.
        settings: names and times.
        breaker: the state of the client's connection.
    """

    def __init__(self, client: Redis, settings: Settings, breaker: Breaker) -> None:
        self._client: Any = client
        self._names = Names(settings.redis_prefix)
        self._breaker = breaker
        self._cursor: bytes | None = None
        self._closed = False

    def belong_to(self, store: str) -> None:
        """Keep apart from other databases' messages, from before the first use."""
        self._names.belong_to(store)

    async def read(self, timeout: float) -> Heard:  # noqa: ASYNC109 - Redis waits, not we
        """Wait at most `timeout` seconds for messages; the first call only takes a stand.

        Raises:
            SharedCacheUnavailable: Redis cannot be asked, or the stream was closed meanwhile; the
                caller paces itself.
        """
        if self._closed:
            raise SharedCacheUnavailable("It has been closed.")
        try:
            heard = self._read(timeout)
        except Exception as error:  # a reply that is not Redis's breaks its client in any way
            if not self._closed:
                self._breaker.failed("follow", error)
            raise SharedCacheUnavailable(f"{type(error).__name__}: {error}") from error
        self._breaker.succeeded("follow")
        return heard

    def _read(self, seconds: float) -> Heard:
        if self._cursor is None:
            self._cursor = self._last()
            return Heard((), complete=False)
        reply = self._client.xread(
            {self._names.stream: self._cursor}, count=_COUNT, block=milliseconds(seconds)
        )
        found = [
            message
            for _, messages in (reply.items() if isinstance(reply, dict) else reply or ())
            for message in _flat(messages)
        ]
        if found:
            self._cursor = found[-1][0]
            # More may be waiting than were read.
            messages = [fields.get(b"m", b"") for _, fields in found]
            return Heard(messages, complete=len(found) < _COUNT)
        # Silence proves something only if the stream still reaches as far as we have read. One that
        # was emptied, or went back to an old state, would be silent for ever; and so would one that
        # has come to the end of its numbers, which only a stranger can have brought about.
        last = self._last()
        if _number(last) < _number(self._cursor) or self._cursor == _END:
            self._cursor = last
            return Heard((), complete=False)
        return Heard((), complete=True)

    def _last(self) -> bytes:
        newest = self._client.xrevrange(self._names.stream, count=1)
        return newest[0][0] if newest else _START

    async def aclose(self) -> None:
        """Give back the connection, and end a wait for messages."""
        self._closed = True
        self._client.close()


def _number(position: bytes) -> tuple[int, ...]:
    return tuple(map(int, position.split(b"-")))


def _flat(messages: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Unwrap the extra list that redis-py puts around a stream's messages under RESP3."""
    if messages and isinstance(messages[0], list):
        return [message for inner in messages for message in inner]
    return list(messages)
