"""What the flows need from the outside: a store, a shared cache, and the messages about changes.

Every method is a coroutine. Those of a blocking service never suspend (`run_now` relies on it);
those of an asynchronous one may be cancelled at any await.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from keymw.importing import Draft, Rejection
    from keymw.model import Event, Key
    from keymw.policy import Record


@dataclass(frozen=True, slots=True)
class Invalidation:
    """Tells caches that everything older than `version` of `entity` is void."""

    entity: str
    version: int
    #: Number of the event; 0 where an old change is only told once more.
    seq: int = 0
    #: Digests under which values of the entity may lie in the shared cache.
    digests: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """What a plan wants to become of a key; the store adds the version and writes the event."""

    action: str
    key: Key
    at: datetime
    actor: str | None
    #: A new secret's digest; the old one is retired.
    digest: bytes | None = None
    #: Until when the retired secret still works.
    retired_until: datetime | None = None
    #: Why, for the activity log.
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A committed change and what must be told of it."""

    key: Key
    invalidation: Invalidation


@dataclass(frozen=True, slots=True)
class UserChanged:
    """A user's access has ended or come back, and whom that concerns."""

    invalidation: Invalidation
    #: How many live personal keys the user has.
    personal_keys: int
    #: Live project keys that the user has made.
    project_keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What the store has found out about many keys, and whether it has stored the new ones."""

    stored: bool
    new: int
    known: int
    rejected: int
    #: The first of them.
    rejections: tuple[Rejection, ...]
    #: The last change; those before it must be asked for.
    last: Invalidation | None


@dataclass(frozen=True, slots=True)
class Use:
    """A secret was used, last at this time."""

    key_id: str
    digest: bytes
    at: datetime


class Changes(Protocol):
    """Changes of the database. Raises `StoreUnavailable`, or `NotMigrated`."""

    async def insert(
        self, key: Key, digest: bytes, action: str, actor: str | None, limit: int | None = None
    ) -> Changed:
        """Store a new key with its event, unless its owner has `limit` live keys already.

        Raises `LabelTaken`, `DigestTaken` or `KeyLimitReached`.
        """
        ...

    async def change(self, key_id: str, plan: Callable[[Key], Update | None]) -> Changed:
        """Apply a plan to a key's current row, which is locked meanwhile; None changes nothing.

        What the plan raises rolls everything back and is raised. Raises `KeyNotFound`,
        `LabelTaken`, `DigestTaken`.
        """
        ...

    async def set_user(
        self, user_id: str, *, active: bool, at: datetime, actor: str | None
    ) -> UserChanged:
        """Say whether a user is active; all of the user's personal keys follow in one step."""
        ...


class Store(Changes, Protocol):
    """The database, the only truth. Each method is one transaction.

    Every method raises `StoreUnavailable` if the database cannot answer, and `NotMigrated` if it
    lacks keymw's tables.
    """

    async def find(self, digest: bytes) -> Record | None:
        """Return what is known of a secret."""
        ...

    async def get(self, key_id: str) -> Key | None:
        """Return a key's row, with the secrets that it had before."""
        ...

    async def list(
        self,
        *,
        project_id: str | None,
        user_id: str | None,
        created_by: str | None = None,
        include_revoked: bool,
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[Key]:
        """Return keys, oldest first: `limit` of those that come after the one with id `after`.

        Raises `KeyNotFound` if there is no key `after`.
        """
        ...

    async def history(
        self,
        *,
        key_id: str | None,
        project_id: str | None,
        user_id: str | None,
        actor: str | None = None,
        limit: int,
        before: int | None = None,
    ) -> Sequence[Event]:
        """Return the activity log, newest first: `limit` events before the one of that number."""
        ...

    async def import_keys(
        self, drafts: Iterable[Draft], may_store: Callable[[int], bool]
    ) -> Imported:
        """Store the keys that are new, in one transaction, if that is wanted; it takes its time.

        A key is known if its kind and owner have, or had, one with its digest; that stays as it is.
        Rejected is what is not new otherwise: a digest or label that is taken or comes twice, an
        end that is over. `may_store` is told how many those are, once all drafts have been read.
        """
        ...

    async def touch(self, uses: Sequence[Use]) -> Sequence[str]:
        """Note when keys were last used, as far as that is later than what is known.

        It tells nobody and changes nothing else. Returns the ids of keys that were being changed at
        the moment: they are to be noted later, for nobody waits here.
        """
        ...

    async def feed(self, after: int, limit: int) -> tuple[int, Sequence[Invalidation]]:
        """Return the number of the last event, and the events above `after`, in order.

        If there are more than `limit`, the newest ones. They come without digests.
        """
        ...

    async def position(self) -> int:
        """Return the number of the last event."""
        ...

    async def signing_keys(self) -> Sequence[bytes]:
        """Return the keys that sign shared values, oldest first; the last one signs."""
        ...

    async def migrate(self) -> None:
        """Make or upgrade the tables; safe to run again and from several processes at once."""
        ...

    async def aclose(self) -> None:
        """Give back the connections; the store may be used again."""
        ...


class Turn(Enum):
    """Who reads the store for a key that the shared cache does not have."""

    #: The caller, who is to fill what it finds.
    MINE = auto()
    #: Another process; a little later the value should be there.
    TAKEN = auto()
    #: The shared cache cannot say: the caller, and there is nothing to fill.
    NONE = auto()


class SharedCache(Protocol):
    """Redis, or nothing. It never raises: an outage is a miss, or an unacknowledged message.

    It holds bytes and understands none of them.
    """

    def belong_to(self, store: str) -> None:
        """Keep apart from other databases' values and changes, from before the first use."""
        ...

    async def get(self, digest: bytes) -> bytes | None:
        """Return the value under a digest, as it lies there."""
        ...

    async def reserve(self, digest: bytes, token: bytes, useless: bytes) -> bytes | Turn:
        """Return the value if one is there by now other than `useless`; else whose turn it is.

        `MINE` leaves the token there for a while; a change takes it away with the value.
        """
        ...

    async def fill(self, digest: bytes, token: bytes, value: bytes, ttl: float) -> bool:
        """Store a value for `ttl` seconds, in the place of the token.

        False if the token is gone: a change has overtaken the value, which must not be used either.
        """
        ...

    async def release(self, digest: bytes, token: bytes) -> None:
        """Take the token back, for there is nothing to fill."""
        ...

    async def publish(self, digests: Sequence[bytes], message: bytes) -> bool:
        """Delete values and tokens, and tell every process. True if Redis has done both."""
        ...

    async def aclose(self) -> None:
        """Give back the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stream has told."""

    messages: Sequence[bytes]
    #: Whether these are all messages since the last time.
    complete: bool


class ChangeStream(Protocol):
    """The messages that `SharedCache.publish` sends."""

    def belong_to(self, store: str) -> None:
        """Keep apart from other databases' messages, from before the first use."""
        ...

    async def read(self, timeout: float) -> Heard:  # noqa: ASYNC109
        """Wait at most `timeout` seconds for messages; the first call only takes a stand.

        Raises:
            SharedCacheUnavailable: Redis cannot be listened to, or the stream has been closed.
        """
        ...

    async def aclose(self) -> None:
        """Give back the connection, and end a wait for messages."""
        ...
