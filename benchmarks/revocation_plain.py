"""The cache that keymw is compared with, as it stands in many code bases.

A dict with a TTL in the process, a value with the same TTL in Redis behind it, the database behind
that. A revoke updates the row, deletes the value and publishes the digest; a thread in each process
hears of it and drops the key from the dict. It is written with care: the commit comes first,
deleting and publishing are one round trip, and a lost connection is made anew after a tenth of a
second. It lacks what such caches lack: whatever was published meanwhile is gone, and nobody
notices, so that the key lives until its TTL has passed.
"""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any

import redis
from sqlalchemy import Boolean, Column, MetaData, String, Table, create_engine, select

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_CHANNEL = "plain:revoked"
#: Seconds before a lost connection is made anew.
_RECONNECT = 0.1

_metadata = MetaData()
_keys = Table(
    "plain_keys",
    _metadata,
    Column("digest", String(64), primary_key=True),
    Column("label", String(40), nullable=False),
    Column("active", Boolean, nullable=False),
)


class PlainCache:
    """Keys by digest: in a dict, in Redis, in the database.

    Args:
        database: `sqlite:///file.db` or `postgresql://…`.
        url: of Redis.
        ttl: seconds that an answer is believed.
    """

    def __init__(self, database: str, url: str, ttl: float) -> None:
        self._engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:", 1))
        self._redis = redis.Redis.from_url(url)
        self._ttl = ttl
        self._entries: dict[str, tuple[float, dict[str, Any]]] = {}
        self._closed = threading.Event()
        self._subscriber: threading.Thread | None = None

    def migrate(self) -> None:
        """Make the table."""
        _metadata.create_all(self._engine)

    def listen(self) -> None:
        """Hear of what is revoked elsewhere, from now on."""
        self._subscriber = threading.Thread(target=self._listen, daemon=True)
        self._subscriber.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(_CHANNEL)
                    for message in channel.listen():
                        self._entries.pop(message["data"].decode(), None)
            except Exception:  # noqa: BLE001 - whatever it is, a subscriber that ends is worse
                self._closed.wait(_RECONNECT)

    def issue(self, label: str) -> str:
        """Make a key; return its token."""
        token = f"plain_{secrets.token_urlsafe(24)}"
        with self._engine.begin() as connection:
            connection.execute(
                _keys.insert().values(digest=_digest(token), label=label, active=True)
            )
        return token

    def peek(self, token: str) -> dict[str, Any] | None:
        """Return whose key it is if the dict knows."""
        entry = self._entries.get(_digest(token))
        if entry is None or monotonic() >= entry[0]:
            return None
        return entry[1]

    def load(self, token: str) -> dict[str, Any] | None:
        """Return whose key it is, from Redis or the database; None if it is nobody's."""
        digest = _digest(token)
        raw = None
        with suppress(redis.RedisError):  # the database knows too
            raw = self._redis.get(f"plain:{digest}")
        if isinstance(raw, bytes):
            found: dict[str, Any] = json.loads(raw)
        else:
            query = select(_keys.c.label).where(_keys.c.digest == digest, _keys.c.active)
            with self._engine.connect() as connection:
                label = connection.scalar(query)
            if label is None:
                return None
            found = {"label": label}
            with suppress(redis.RedisError):
                self._redis.set(f"plain:{digest}", json.dumps(found), px=int(self._ttl * 1000))
        self._entries[digest] = (monotonic() + self._ttl, found)
        return found

    def revoke(self, token: str) -> None:
        """End a key, and tell every process."""
        digest = _digest(token)
        with self._engine.begin() as connection:
            connection.execute(_keys.update().where(_keys.c.digest == digest).values(active=False))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(f"plain:{digest}")
        pipeline.publish(_CHANNEL, digest)
        pipeline.execute()
        self._entries.pop(digest, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give back the connections."""
        self._closed.set()
        self._redis.close()
        self._engine.dispose()


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
