"""An app whose routes nobody has decorated, and what is asked of the faces around it."""

from __future__ import annotations

from keymw import current_principal

KINDS = ("project_secret", "personal")


class Undecorated:
    """Serves whatever it is asked; counts, and remembers who asked."""

    def __init__(self):
        self.called = 0
        self.principal = None
        self.connection = None

    def view(self, path, connection):
        self.called += 1
        self.connection = connection
        self.principal = current_principal()
        return b"served"


def ask(face, path, headers=(), *, method="GET", **options):
    """Return the app's and the face's word on a request."""
    seen = Undecorated()
    reply = face.ask(headers, path, method=method, seen=seen, **options)
    assert seen.called == (reply.status == 200)
    return reply, seen
