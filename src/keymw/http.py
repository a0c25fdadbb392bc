"""What HTTP says about credentials: reading one header field, and writing one refusal.

RFC 9110 §11 (authentication), RFC 6750 (Bearer), RFC 9457 (problem documents). The faces turn what
stands here into ASGI messages or WSGI calls and add nothing to it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from keymw.model import Denied, Reason
from keymw.tokens import TOKEN68

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Refusals that wait for a route to demand something: without a demand the request is anonymous,
#: and the credentials, if any, are some other middleware's.
DEFERRED = frozenset({Reason.NOT_AUTHENTICATED, Reason.UNRECOGNIZED})

MISSING = Denied(Reason.NOT_AUTHENTICATED)
MALFORMED = Denied(Reason.MALFORMED)
UNRECOGNIZED = Denied(Reason.UNRECOGNIZED)
INVALID = Denied(Reason.INVALID)
UNAVAILABLE = Denied(Reason.UNAVAILABLE)

_TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +(" + TOKEN68 + rb")")

_ANSWERS: Mapping[Reason, tuple[HTTPStatus, str | None]] = {
    Reason.NOT_AUTHENTICATED: (HTTPStatus.UNAUTHORIZED, None),
    Reason.MALFORMED: (HTTPStatus.BAD_REQUEST, "invalid_request"),
    Reason.UNRECOGNIZED: (HTTPStatus.UNAUTHORIZED, "invalid_token"),
    Reason.INVALID: (HTTPStatus.UNAUTHORIZED, "invalid_token"),
    Reason.EXPIRED: (HTTPStatus.UNAUTHORIZED, "invalid_token"),
    Reason.REVOKED: (HTTPStatus.UNAUTHORIZED, "invalid_token"),
    Reason.ROLLED: (HTTPStatus.UNAUTHORIZED, "invalid_token"),
    Reason.OWNER_INACTIVE: (HTTPStatus.UNAUTHORIZED, "invalid_token"),
    Reason.KIND: (HTTPStatus.FORBIDDEN, "insufficient_scope"),
    Reason.SCOPE: (HTTPStatus.FORBIDDEN, "insufficient_scope"),
    Reason.PROJECT: (HTTPStatus.FORBIDDEN, "insufficient_scope"),
    Reason.AMBIGUOUS: (HTTPStatus.BAD_REQUEST, "invalid_request"),
    Reason.NO_RULE: (HTTPStatus.FORBIDDEN, None),
    Reason.UNAVAILABLE: (HTTPStatus.SERVICE_UNAVAILABLE, None),
}


def bearer_token(value: bytes, limit: int) -> bytes | Denied:
    """Return the token of one `Authorization` value, or why there is none.

    Only SP and HTAB are trimmed. Linear in the value's length; nothing longer than `limit` bytes
    is matched.
    """
    value = value.strip(b" \t")
    if value[:6].lower() != b"bearer" or (len(value) > len(b"bearer") and value[6] in _TCHAR):
        return MISSING
    match = _BEARER.fullmatch(value) if len(value) <= limit else None
    return MALFORMED if match is None else match[1]


def vary_on_authorization(value: str) -> str:
    """Return a `Vary` value that has `Authorization` in it (RFC 9110 §12.5.5)."""
    members = [member.strip().lower() for member in value.split(",")]
    if "*" in members or "authorization" in members:
        return value
    return f"{value}, Authorization" if value.strip() else "Authorization"


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal, ready to be sent by either face."""

    status: int
    phrase: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    #: One sentence for people, for frameworks whose own errors carry one.
    detail: str


@lru_cache(maxsize=1024)
def answer(denied: Denied, realm: str, retry_after: int = 1) -> Answer:
    """Return the one answer that a refusal has, under every framework.

    Args:
        denied: why.
        realm: protection space, for the challenge; already checked by `check_realm`.
        retry_after: seconds, sent with a 503.
    """
    status, error = _ANSWERS[denied.reason]
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": denied.detail,
        "code": denied.reason.value,
    }
    body = json.dumps(problem).encode()
    headers = [
        ("content-type", "application/problem+json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("vary", "Authorization"),
    ]
    if denied.reason is Reason.UNAVAILABLE:
        headers.append(("retry-after", str(retry_after)))
    else:
        headers.append(("www-authenticate", _challenge(denied, realm, error)))
    return Answer(status.value, status.phrase, tuple(headers), body, denied.detail)


def _challenge(denied: Denied, realm: str, error: str | None) -> str:
    parts = [f'realm="{realm}"']
    if error is not None:
        parts.append(f'error="{error}"')
    if denied.reason is Reason.SCOPE:
        parts.append(f'scope="{" ".join(denied.scopes)}"')
    return "Bearer " + ", ".join(parts)


def check_realm(realm: str) -> str:
    r"""Return the realm if it can stand in a quoted string without escapes.

    Raises:
        TypeError: it is not a string.
        ValueError: it is not printable ASCII, or has `"` or `\` in it.
    """
    if not isinstance(realm, str):
        raise TypeError(f"realm: give a string, not {type(realm).__name__}.")
    if not realm.isascii() or not realm.isprintable() or {'"', "\\"} & set(realm):
        raise ValueError(f"realm {realm!r}: use printable ASCII without quotes and backslashes.")
    return realm
