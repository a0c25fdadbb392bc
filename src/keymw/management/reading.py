"""Reads requests: a bounded JSON body and a query string, into their models or a problem."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from keymw.management.problems import Unacceptable

if TYPE_CHECKING:
    from starlette.requests import Request

M = TypeVar("M", bound=BaseModel)

MAX_BODY = 64 * 1024
#: Longest length that is read as a number.
_DIGITS = 18
#: Characters of a field's name that are repeated to the client.
_SHOWN = 64


async def read_raw(request: Request, limit: int) -> bytes:
    """Return a body of at most `limit` bytes.

    Raises:
        Unacceptable: it is longer; no more than the limit has been kept.
    """
    too_large = Unacceptable(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        f"The body is over {limit // 1024} kB.",
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > _DIGITS or int(announced) > limit):
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


async def read_body(request: Request, model: type[M], *, needed: bool) -> M:
    """Return the body as its model; no body at all is an empty object, unless one is needed.

    Raises:
        Unacceptable: it is too large, no JSON, or does not fit.
    """
    raw = await read_raw(request, MAX_BODY)
    if not raw and not needed:
        return model()
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Unacceptable(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send the body as application/json.",
        )
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise refusal(error) from None


def read_query(request: Request, model: type[M]) -> M:
    """Return the parameters of the query string that the model knows.

    Raises:
        Unacceptable: one does not fit, or is given twice.
    """
    given: dict[str, str] = {}
    for name in model.model_fields:
        values = request.query_params.getlist(name)
        if len(values) > 1:
            raise unfit([(name, "give it once.")])
        if values:
            given[name] = values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise refusal(error) from None


def unfit(errors: list[tuple[str, str]]) -> Unacceptable:
    """Return the problem of fields that do not fit."""
    names = ", ".join(dict.fromkeys(field for field, _ in errors)) or "the body"
    return Unacceptable(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_input",
        f"Something is wrong with: {names[:_SHOWN]}.",
        errors,
    )


def refusal(error: ValidationError) -> Unacceptable:
    """Return the problem of what is no JSON, or does not fit its model."""
    found = []
    for each in error.errors(include_url=False, include_input=False):
        if each["type"] == "json_invalid":
            return Unacceptable(HTTPStatus.BAD_REQUEST, "malformed_json", each["msg"] + ".")
        field = ".".join(str(part) for part in each["loc"])[:_SHOWN]
        cause = each.get("ctx", {}).get("error")
        found.append((field, str(cause) if cause else f"{each['msg']}."))
    return unfit(found)
