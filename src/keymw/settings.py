"""Every number that an operator may want to move, with its unit and what it trades."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from keymw.principals import KeyKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = re.compile(r"[A-Za-z0-9._~-]{1,32}", re.ASCII)
#: A lease's share of its bound. The rest is for what lies between a verdict and its use, and for
#: clocks that do not run equally fast.
_LEASE = 0.9

_NAMESPACE = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a service behaves; the defaults suit several workers, Redis and PostgreSQL.

    Raises:
        ValueError: a value is out of its range; the message names the field.
    """

    #: Prefixes of project secret keys: all are accepted, the first is issued.
    project_secret_prefixes: tuple[str, ...] = ("phs_",)
    #: Prefixes of personal keys: all are accepted, the first is issued.
    personal_prefixes: tuple[str, ...] = ("pha_",)
    #: Kinds whose tokens may lack keymw's length and checksum, for imported keys.
    accept_unchecksummed: tuple[KeyKind, ...] = ()

    #: Good keys kept in the process.
    l1_size: int = 10_000
    #: Refused tokens kept in the process; they can never push out a good key.
    negative_size: int = 10_000
    # All services on a database need the same two bounds: what a call states is its own.

    #: Seconds after a change that Redis has acknowledged within which every process keeps to it,
    #: whatever happens to that process. Shorter costs more heartbeats: four in each such span, a
    #: process; and, while Redis is away, more questions to the database: one a key in each.
    acknowledged_bound: float = 1.0
    #: The same for a change that Redis did not acknowledge, or has forgotten again. Longer lets a
    #: process go on for longer while the database is away.
    unacknowledged_bound: float = 5.0
    #: Seconds that an answer of the store may be believed, wherever it is cached. It bounds how
    #: long a change lives unseen that was made past keymw, by hand in the database.
    max_age: float = 30.0
    #: Seconds that a refusal is remembered; a change to any key ends it early.
    negative_max_age: float = 5.0

    #: Seconds that Redis may take to accept a connection, or to answer once. The look-up of a host
    #: name is the resolver's and comes on top for blocking services: give an address, or keep the
    #: resolver's own timeout short.
    redis_timeout: float = 0.1
    #: Seconds without a question to Redis after it has failed: those who had asked already have
    #: waited for it, then one request in each such span does.
    redis_retry: float = 1.0
    #: Start of every name in Redis. Services on different databases are kept apart anyway; those on
    #: a copy of a database, which has its signing key too, need a prefix, or a Redis, of their own.
    redis_prefix: str = "keymw"

    #: Seconds that the database may take to give a connection, or to answer once. A new connection
    #: to PostgreSQL is given whole seconds, two at least, for each address of its host.
    store_timeout: float = 2.0
    #: Connections to the database, a process.
    store_connections: int = 8
    #: Lookups that may wait for the database at once, a process; more are answered 503.
    max_store_lookups: int = 1024
    #: Seconds between two looks into the store's feed of changes.
    poll_interval: float = 1.0

    #: Live keys (neither revoked nor expired) that a project, and a user, may have. Imported keys
    #: count, but are never refused for it.
    max_keys_per_project: int = 50
    max_keys_per_user: int = 10
    #: Seconds by which `last_used_at` may lag behind. Shorter costs more writes: one a key in use,
    #: in each such span, a process.
    last_used_interval: float = 60.0

    #: Seconds that a client is asked to wait after a 503.
    retry_after: int = 1
    #: Longest `Authorization` value that is looked at, in bytes.
    max_credentials_length: int = 8192

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("project_secret_prefixes", "personal_prefixes"):
            _check_prefixes(name, getattr(self, name))
        both = (*self.project_secret_prefixes, *self.personal_prefixes)
        for prefix in both:
            if sum(other.startswith(prefix) for other in both) > 1:
                raise ValueError(f"prefixes: {prefix!r} begins another one, so kinds would mix.")
        object.__setattr__(self, "accept_unchecksummed", _kinds(self.accept_unchecksummed))
        if not isinstance(self.redis_prefix, str) or not _NAMESPACE.fullmatch(self.redis_prefix):
            raise ValueError("redis_prefix: use 1 to 64 of A-Z a-z 0-9 . _ : -")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in ("int", "float") and not _is_positive(value, field.type):
                raise ValueError(f"{field.name}: give a positive {field.type}, not {value!r}.")
        if self.unacknowledged_bound < self.acknowledged_bound:
            raise ValueError("unacknowledged_bound: it cannot be below acknowledged_bound.")
        if self.poll_interval >= self.feed_lease:
            raise ValueError(
                "poll_interval: it must be well below unacknowledged_bound, or no process could "
                "ever believe its cache."
            )

    @property
    def patience(self) -> float:
        """Seconds that a request waits at the most for its key to be looked up, then 503."""
        return 2 * (self.redis_timeout + self.store_timeout) + self.fill_patience

    @property
    def stream_lease(self) -> float:
        """Seconds that a process believes its caches after it has asked Redis for changes."""
        return _LEASE * self.acknowledged_bound

    @property
    def heartbeat(self) -> float:
        """Seconds that a process waits for Redis to tell of a change before it asks again."""
        return self.stream_lease / 4

    @property
    def feed_lease(self) -> float:
        """Seconds that a process believes its caches after it has asked the store for changes."""
        return _LEASE * self.unacknowledged_bound

    @property
    def fill_patience(self) -> float:
        """Seconds that a process waits while another one reads the key that it wants, too."""
        return self.store_timeout / 4

    def prefixes(self, kind: KeyKind) -> tuple[str, ...]:
        """Return the prefixes of a kind, the issued one first."""
        if kind is KeyKind.PROJECT_SECRET:
            return self.project_secret_prefixes
        return self.personal_prefixes

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Return settings from `KEYMW_<FIELD>` variables; lists are separated by commas.

        Raises:
            ValueError: a variable does not fit its field; the message names it.
        """
        given: dict[str, object] = {}
        for field in fields(cls):
            variable = f"KEYMW_{field.name.upper()}"
            text = environ.get(variable)
            if text is None:
                continue
            try:
                given[field.name] = _PARSERS.get(str(field.type), _parse_list)(text)
            except ValueError:
                raise ValueError(f"{variable}: {text!r} is not of type {field.type}.") from None
        return cls(**given)  # type: ignore[arg-type]  # the parsers follow the fields' types


def _kinds(given: object) -> tuple[KeyKind, ...]:
    """Return kinds that may have been given as plain strings, or as a single one."""
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Iterable):
        raise ValueError(f"accept_unchecksummed: {given!r} is no list of kinds.")  # noqa: TRY004
    try:
        return tuple(KeyKind(name) for name in names)
    except ValueError as error:
        raise ValueError(f"accept_unchecksummed: {error}.") from None


def _check_prefixes(name: str, prefixes: object) -> None:
    if not isinstance(prefixes, tuple) or not prefixes:
        raise ValueError(f"{name}: give a tuple with at least one prefix.")
    for prefix in prefixes:
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ValueError(f"{name}: {prefix!r}: use 1 to 32 of A-Z a-z 0-9 . _ ~ -")


def _is_positive(value: object, kind: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if kind == "int" else (int, float)):
        return False
    return 0 < value < float("inf")


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


_PARSERS = {"int": int, "float": float, "str": str}
