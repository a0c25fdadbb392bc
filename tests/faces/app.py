"""One app, written for both faces, and what the tests learn from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from keymw import current_principal, require_scopes

PROJECT = "project_secret"
PERSONAL = "personal"


@require_scopes("endpoint:read")
def humans():
    return "humans"


@require_scopes("endpoint:read", kinds=[PROJECT])
def machines():
    return "machines"


@require_scopes("endpoint:read", kinds=[PROJECT, PERSONAL])
def both():
    return "both"


@require_scopes("endpoint:write", "batch:read", kinds=[PROJECT, PERSONAL])
def writers():
    return "writers"


@require_scopes(kinds=[PROJECT, PERSONAL], project="project_id")
def members():
    return "members"


VIEWS = {
    "/open": lambda: "open",
    "/humans": humans,
    "/machines": machines,
    "/both": both,
    "/writers": writers,
    "/members": members,
}


@dataclass
class Seen:
    """What the app was given."""

    called: int = 0
    viewed: int = 0
    principal: object = None
    connection: object = None

    def view(self, path, connection):
        self.called += 1
        self.connection = connection
        self.principal = current_principal()
        text = VIEWS[path]()
        self.viewed += 1
        return text.encode()


@dataclass
class Reply:
    """What a client would get."""

    status: int | None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    #: Close code, where a WebSocket is refused without an HTTP answer.
    close: int | None = None

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name):
        (value,) = self.all(name)
        return value
