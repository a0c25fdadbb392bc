"""What a face knows of the request in hand, and where the rest of keymw finds it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from keymw.model import Granted
from keymw.principals import AnonymousPrincipal, Credentials

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from keymw.http import Answer
    from keymw.model import Denied, Verdict
    from keymw.principals import Principal

    #: An ASGI scope or a WSGI environ.
    Connection = MutableMapping[str, Any]

#: The one name that keymw adds to an ASGI scope or a WSGI environ besides the documented ones.
#: PEP 3333 wants a dot in it.
KEY = "keymw.access"

ANONYMOUS = AnonymousPrincipal()
NO_CREDENTIALS = Credentials(())


class Access:
    """One request: who it is, and how a route's refusal leaves it."""

    __slots__ = ("denied", "verdict")

    #: `Granted`, or a `Denied` that counts only where a route demands something.
    verdict: Verdict
    #: Why a WebSocket is refused, by a framework that can only close one: the face then answers in
    #: place of that.
    denied: Denied | None

    @property
    def principal(self) -> Principal | AnonymousPrincipal:
        """Who the request is."""
        return self.verdict.principal if isinstance(self.verdict, Granted) else ANONYMOUS

    def answer(self, denied: Denied) -> Answer:
        """Return what is answered to a refusal."""
        raise NotImplementedError

    def closes(self, connection: Connection) -> bool:  # noqa: ARG002 - HTTP can always be answered
        """Say whether a refusal can only close the connection, a WebSocket."""
        return False


#: Classes of requests that have their ASGI scope, with Starlette's `path_params`, in `scope`.
#: Filled by the integrations whose classes they are, once they are imported.
SCOPED: set[Any] = set()

#: The ASGI scope or WSGI environ that the app was given, with its `Access` in it. The access does
#: not hold the connection: that would be a circle, which only the garbage collector could undo.
current: ContextVar[Connection | None] = ContextVar("keymw", default=None)


def current_principal() -> Principal | AnonymousPrincipal:
    """Return who the current request is, anywhere in it; outside of one, the anonymous principal.

    It follows the request into threads and tasks that copy the context, as frameworks' do.
    """
    connection = current.get()
    access: Access | None = None if connection is None else connection.get(KEY)
    return ANONYMOUS if access is None else access.principal
