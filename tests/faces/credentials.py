"""Tokens in every state, and the headers that carry them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keymw import KeyService
from keymw.tokens import generate


class Yesterday:
    """A clock of a day ago, to issue keys that have expired since."""

    def monotonic(self):
        return 0.0

    def now(self):
        return datetime.now(UTC) - timedelta(days=1)


class Stepped:
    """The real time of day, beside monotonic seconds that a test moves."""

    seconds = 1000.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return datetime.now(UTC)


def issue(keys, url, state):  # noqa: C901, PLR0911, PLR0912 - a table, in code
    """Return a token in a state, made now."""
    read = ["endpoint:read"]
    match state:
        case "project":
            return keys.issue_project_key("2", "machine", read).token
        case "personal":
            return keys.issue_personal_key("ann", "laptop", read).token
        case "write":
            scopes = ["endpoint:write", "batch:write"]
            return keys.issue_project_key("2", "writer", scopes).token
        case "half":
            return keys.issue_project_key("2", "half", ["endpoint:write"]).token
        case "star":
            return keys.issue_personal_key("ann", "everything", ["*"]).token
        case "empty":
            return keys.issue_personal_key("ann", "nothing", ["other:read"]).token
        case "revoked":
            issued = keys.issue_project_key("2", "machine", read)
            keys.revoke(issued.key.id)
            return issued.token
        case "rolled":
            issued = keys.issue_project_key("2", "machine", read)
            keys.roll(issued.key.id)
            return issued.token
        case "inactive":
            token = keys.issue_personal_key("ann", "laptop", read).token
            keys.deactivate_user("ann")
            return token
        case "expired":
            with KeyService(url) as early:
                early._clock = Yesterday()
                end = datetime.now(UTC) - timedelta(hours=1)
                return early.issue_project_key("2", "old", read, expires_at=end).token
        case "unknown":
            return generate("phs_")
        case "unknown-personal":
            return generate("pha_")
        case "checksum":
            token = keys.issue_project_key("2", "machine", read).token
            return token[:-1] + ("0" if token[-1] != "0" else "1")
        case "short":
            return keys.issue_project_key("2", "machine", read).token[:-1]
        case "foreign":
            return "eyJhbGciOiJub25lIn0.e30."
    raise AssertionError(state)


def bearer(token):
    return [(b"authorization", b"Bearer " + token.encode())]


def credentials(keys, url, state):
    match state:
        case "none":
            return []
        case "basic":
            return [(b"authorization", b"Basic dXNlcjpwYXNzd29yZA==")]
        case "digest":
            return [(b"authorization", b'Digest username="x", realm="y"')]
        case "bare":
            return [(b"authorization", b"Bearer")]
        case "garbled":
            return [(b"authorization", b"Bearer phs_{}")]
    return bearer(issue(keys, url, state))
