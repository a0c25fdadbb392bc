"""What is answered when a request cannot be done: problem documents (RFC 9457), from exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from keymw.errors import (
    InvalidInput,
    KeyLimitReached,
    KeymwError,
    KeyNotFound,
    KeyNotUsable,
    LabelTaken,
    StoreUnavailable,
    VersionConflict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class NotFound(KeymwError, LookupError):  # noqa: N818 - named as its status is
    """There is no such project or key, or the caller does not reach it. Which, nobody is told."""

    def __init__(self) -> None:
        super().__init__("There is no such project or key here, or your API key does not reach it.")


class Forbidden(KeymwError):  # noqa: N818
    """The caller may not do this, because it would hand out more than the caller holds."""

    #: Name of the field that asks too much; None where it is the request as such.
    field: str | None

    def __init__(self, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class Unacceptable(KeymwError):  # noqa: N818
    """The request cannot be read, or its fields do not fit."""

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, errors: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        #: Fields and what is wrong with them.
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem that clients can tell by its code."""

    status: HTTPStatus
    code: str


#: The first that fits counts.
KINDS: tuple[tuple[type[KeymwError], Kind], ...] = (
    (NotFound, Kind(HTTPStatus.NOT_FOUND, "not_found")),
    (KeyNotFound, Kind(HTTPStatus.NOT_FOUND, "not_found")),
    (Forbidden, Kind(HTTPStatus.FORBIDDEN, "more_than_held")),
    (VersionConflict, Kind(HTTPStatus.CONFLICT, "version_conflict")),
    (LabelTaken, Kind(HTTPStatus.CONFLICT, "label_taken")),
    (KeyLimitReached, Kind(HTTPStatus.CONFLICT, "key_limit_reached")),
    (KeyNotUsable, Kind(HTTPStatus.CONFLICT, "key_not_usable")),
    (InvalidInput, Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_input")),
    (StoreUnavailable, Kind(HTTPStatus.SERVICE_UNAVAILABLE, "temporarily_unavailable")),
)

_UNAVAILABLE = "The keys cannot be reached at the moment. Try again shortly."


def answer(error: KeymwError, retry_after: int) -> JSONResponse:
    """Return what is answered to an exception of keymw's.

    Raises:
        KeymwError: the exception itself, if it says that keymw is wired up wrongly.
    """
    if isinstance(error, Unacceptable):
        return problem(error.status, error.code, str(error), errors=error.errors)
    kind = next((kind for base, kind in KINDS if isinstance(error, base)), None)
    if kind is None:
        raise error
    if isinstance(error, StoreUnavailable):  # whose text is for those who run the database
        headers = {"retry-after": str(retry_after)}
        return problem(kind.status, kind.code, _UNAVAILABLE, headers=headers)
    if isinstance(error, KeyNotFound):
        error = NotFound()
    field, more = getattr(error, "field", None), {}
    if isinstance(error, VersionConflict):
        field, more = "version", {"version": error.current}
    detail = str(error).removeprefix(f"{field}: ")
    errors = () if field is None else ((field, detail),)
    return problem(kind.status, kind.code, str(error), errors=errors, more=more)


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    errors: Iterable[tuple[str, str]] = (),
    more: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a problem document."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "errors": [{"field": field, "detail": wrong} for field, wrong in errors],
        **(more or {}),
    }
    return JSONResponse(
        body,
        status.value,
        {"cache-control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )
