"""The answers of every refusal, as a table, and the check of one."""

from __future__ import annotations

import json
from dataclasses import dataclass

from faces.app import Reply


@dataclass
class Case:
    """A request, and the refusal that it gets."""

    state: str
    path: str
    status: int
    code: str
    detail: str
    #: What follows the realm in the challenge; None for no challenge at all.
    challenge: str = ""
    title: str = "Unauthorized"
    #: Whether the app is reached (its view never is).
    reaches: bool = False


ANONYMOUS_DETAIL = "Authentication credentials were not provided."
INVALID = ', error="invalid_token"'
NARROW = ', error="insufficient_scope"'
OUT = "Forbidden"
NO_PROJECT = "API key does not have access to the requested project."

CASES = [
    Case("none", "/both", 401, "not_authenticated", ANONYMOUS_DETAIL, reaches=True),
    Case("basic", "/both", 401, "not_authenticated", ANONYMOUS_DETAIL, reaches=True),
    Case("digest", "/both", 401, "not_authenticated", ANONYMOUS_DETAIL, reaches=True),
    Case(
        "foreign",
        "/both",
        401,
        "unrecognized_credentials",
        "The API key is invalid.",
        INVALID,
        reaches=True,
    ),
    *(
        Case(state, path, 401, code, detail, INVALID)
        for path in ("/open", "/both")
        for state, code, detail in (
            ("checksum", "invalid_key", "The API key is invalid."),
            ("short", "invalid_key", "The API key is invalid."),
            ("unknown", "invalid_key", "The API key is invalid."),
            ("unknown-personal", "invalid_key", "The API key is invalid."),
            ("expired", "expired_key", "The API key has expired."),
            ("revoked", "revoked_key", "The API key has been revoked."),
            ("rolled", "rolled_key", "The API key has been rolled: use its new secret."),
            (
                "inactive",
                "owner_inactive",
                "The API key is invalid: its owner is no longer active.",
            ),
        )
    ),
    *(
        Case(
            state,
            path,
            400,
            "malformed_credentials",
            "The Authorization header must be sent once, as: Bearer <API key>.",
            ', error="invalid_request"',
            "Bad Request",
        )
        for path in ("/open", "/both")
        for state in ("bare", "garbled")
    ),
    Case(
        "project",
        "/humans",
        403,
        "kind_not_supported",
        "This endpoint does not support project secret API keys.",
        NARROW,
        OUT,
        reaches=True,
    ),
    Case(
        "personal",
        "/machines",
        403,
        "kind_not_supported",
        "This endpoint does not support personal API keys.",
        NARROW,
        OUT,
        reaches=True,
    ),
    Case(
        "star",
        "/machines",
        403,
        "kind_not_supported",
        "This endpoint does not support personal API keys.",
        NARROW,
        OUT,
        reaches=True,
    ),
    Case(
        "project",
        "/writers",
        403,
        "scope_missing",
        "API key missing required scope 'endpoint:write'.",
        NARROW + ', scope="endpoint:write batch:read"',
        OUT,
        reaches=True,
    ),
    Case(
        "half",
        "/writers",
        403,
        "scope_missing",
        "API key missing required scope 'batch:read'.",
        NARROW + ', scope="endpoint:write batch:read"',
        OUT,
        reaches=True,
    ),
    Case(
        "empty",
        "/both",
        403,
        "scope_missing",
        "API key missing required scope 'endpoint:read'.",
        NARROW + ', scope="endpoint:read"',
        OUT,
        reaches=True,
    ),
    Case("project", "/members", 403, "wrong_project", NO_PROJECT, NARROW, OUT, reaches=True),
]


def check_refusal(face, reply, case, *, method="GET", realm="keymw"):
    """Check every part of a refusal."""
    if face.name == "websocket":
        assert reply == Reply(None, close=1008)
        return
    assert reply.status == case.status
    challenges = reply.all("www-authenticate")
    assert challenges == [f'Bearer realm="{realm}"{case.challenge}']
    assert reply.one("content-type") == "application/problem+json"
    assert reply.one("cache-control") == "no-store"
    assert reply.one("vary") == "Authorization"
    assert reply.all("retry-after") == []
    if method == "HEAD":
        assert reply.body == b""
        assert int(reply.one("content-length")) > 0
        return
    assert int(reply.one("content-length")) == len(reply.body)
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": case.title,
        "status": case.status,
        "detail": case.detail,
        "code": case.code,
    }
