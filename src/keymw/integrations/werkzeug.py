"""Flask and Werkzeug: a refusal is an `HTTPException` that carries keymw's answer with it.

An app's own error handlers, for the status or for Werkzeug's class of it, may restyle it; the
default is to answer what the exception carries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import Forbidden, HTTPException, Unauthorized
from werkzeug.wrappers import Response

from keymw.errors import AccessDenied

if TYPE_CHECKING:
    from keymw.http import Answer
    from keymw.model import Denied


class Refusal(HTTPException, AccessDenied):
    """A refusal with `code`, `name` and `description`, as Werkzeug's exceptions are."""

    answer: Answer

    def get_response(self, *_: Any, **__: Any) -> Response:
        """Return keymw's answer, to be changed by whoever handles the exception."""
        return Response(self.answer.body, self.answer.status, list(self.answer.headers))


class UnauthorizedRefusal(Refusal, Unauthorized):
    """A refusal with status 401."""


class ForbiddenRefusal(Refusal, Forbidden):
    """A refusal with status 403."""


_KINDS: dict[int, type[Refusal]] = {
    kind.code: kind for kind in (UnauthorizedRefusal, ForbiddenRefusal)
}


def refusal(denied: Denied, answer: Answer) -> Refusal:
    """Return what a view raises."""
    error = _KINDS[answer.status].of(denied, answer.detail)
    error.answer = answer
    return error
