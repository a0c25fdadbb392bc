"""Flask and Werkzeug: a refusal is an `HTTPException` that carries keymw's answer with it.

An app's own error handlers may restyle it; the default is to answer what the exception carries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from keymw.http import Answer


class Refusal(HTTPException):
    """A refusal as Werkzeug's exceptions are: with `code`, `name` and `description`."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.detail)
        self.code = answer.status
        self._answer = answer

    def get_response(self, *_: Any, **__: Any) -> Response:
        """Return keymw's answer."""
        answer = self._answer
        return Response(answer.body, answer.status, list(answer.headers))
