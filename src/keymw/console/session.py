"""Who is signed in: a signed cookie with the digest of a personal key, never with the key itself.

The cookie proves only that somebody had the key when it was made. Whether the key is still good, is
asked at every request.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer

from keymw.tokens import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

#: Shortest secret that sessions may be signed with, in characters.
_SECRET_LENGTH = 16
_PARTS = 2


@dataclass(frozen=True, slots=True)
class Session:
    """What the cookie holds."""

    digest: bytes
    #: What forms have to send along, which other sites cannot read.
    csrf: str

    def has_sent(self, value: str) -> bool:
        """Say whether a value is the session's, in a time that does not tell how much of it is."""
        return hmac.compare_digest(self.csrf.encode(), value.encode("utf-8", "surrogatepass"))


class Sessions:
    """Signs sessions, and reads them.

    Args:
        secret: what they are signed with; of several, the last signs and all are accepted.
        age: seconds after which one ends.
        secure: only over https.
    """

    def __init__(self, secret: str | Sequence[str], age: int, *, secure: bool) -> None:
        every = [secret] if isinstance(secret, str) else list(secret)
        if not every or not all(
            isinstance(each, str) and len(each) >= _SECRET_LENGTH for each in every
        ):
            raise ValueError(f"secret: give at least {_SECRET_LENGTH} random characters.")
        if isinstance(age, bool) or not isinstance(age, int) or age < 1:
            raise ValueError("session_age: give a positive number of seconds.")
        self._signed = URLSafeTimedSerializer(
            every,
            salt="keymw.console",
            signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"},
        )
        self._age = age
        self._secure = secure
        self._name = "__Secure-keymw" if secure else "keymw"

    def read(self, request: Request) -> Session | None:
        """Return the session of a request, if there is one that is signed and young enough."""
        try:
            held = self._signed.loads(request.cookies.get(self._name, ""), max_age=self._age)
        except BadData:
            return None
        if not isinstance(held, list) or len(held) != _PARTS:
            return None
        return Session(bytes.fromhex(held[0]), held[1])

    def begin(self, response: Response, token: str, path: str) -> None:
        """Have the browser keep a new session."""
        held = [digest_of(token).hex(), secrets.token_urlsafe(24)]
        response.set_cookie(
            self._name,
            str(self._signed.dumps(held)),
            max_age=self._age,
            path=path or "/",
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def end(self, response: Response, path: str) -> None:
        """Have the browser forget the session."""
        response.delete_cookie(
            self._name, path or "/", secure=self._secure, httponly=True, samesite="strict"
        )


def is_foreign(request: Request) -> bool:
    """Say whether a form was sent by a page of another origin.

    The pages' own `Referrer-Policy: no-referrer` makes browsers send `Origin: null` with their
    forms, so that counts only where `Sec-Fetch-Site` says whose they are.
    """
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin"):
        return True
    origin = request.headers.get("origin")
    if origin == "null":
        return site is None
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
