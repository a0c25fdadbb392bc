"""The one key of the benchmark, and what the contenders other than keymw know of it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import inf

#: Longest `Authorization` value that is looked at, as keymw's default has it.
MAX_LENGTH = 8192
#: What the key may do, and what the views demand.
SCOPE = "endpoint:read"
#: The key's label, by which an app knows who calls.
LABEL = "benchmark"


@dataclass(frozen=True, slots=True)
class User:
    """Whose key it is, and until when it counts, in monotonic seconds."""

    display_name: str
    scopes: list[str]
    deadline: float


Known = dict[bytes, User]


def known(good: str, ended: str) -> Known:
    """Return a dict with a key that is good and one that has come to its end."""
    return {
        sha256(token.encode()).digest(): User(LABEL, [SCOPE], deadline)
        for token, deadline in ((good, inf), (ended, 0.0))
    }


def headers(token: str, name: bytes = b"authorization") -> list[tuple[bytes, bytes]]:
    """Return what a client sends: eight fields, the credentials last."""
    return [
        (b"host", b"api.example.com"),
        (b"user-agent", b"python-httpx/0.28.1"),
        (b"accept", b"*/*"),
        (b"accept-encoding", b"gzip, deflate, br"),
        (b"connection", b"keep-alive"),
        (b"content-type", b"application/json"),
        (b"x-request-id", b"1f0c2b4e-7a63-4a5e-9d0e-5f6a7b8c9d0e"),
        (name, b"Bearer " + token.encode()),
    ]
