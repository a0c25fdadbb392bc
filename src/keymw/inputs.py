"""What callers may hand in: ids, labels, times. Refused before anything is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from unicodedata import normalize
from uuid import UUID

from keymw.errors import InvalidInput

#: What ids may be handed in as.
Id = str | int | UUID

MAX_LABEL = 40
MAX_ID = 255
MAX_REASON = 500
MAX_SOURCE = 400


def check_id(field: str, value: object) -> str:
    """Return an id as the string that it is compared by.

    Ids are compared exactly, so one that a person (or `int()`) takes for another is refused:
    full-width digits, say, or white space around it.

    Raises:
        InvalidInput: it is not a string, int or UUID, is empty or over 255 characters, or has
            characters that cannot be seen or that stand for others.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)):
        raise InvalidInput(field, f"give a string, not {type(value).__name__}.")
    if isinstance(value, int) and abs(value) >= 10**MAX_ID:
        raise InvalidInput(field, f"give 1 to {MAX_ID} printable characters.")
    text = str(value)
    if not 0 < len(text) <= MAX_ID or not text.isprintable():
        raise InvalidInput(field, f"give 1 to {MAX_ID} printable characters.")
    if text != text.strip() or text != normalize("NFKC", text):
        raise InvalidInput(field, "white space around it and look-alike characters are not ids.")
    return text


def check_reason(value: object) -> str | None:
    """Return why a change is made, or None if nobody says so.

    Raises:
        InvalidInput: it has not 1 to 500 printable characters.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_REASON or not value.isprintable():
        raise InvalidInput("reason", f"give 1 to {MAX_REASON} printable characters.")
    return value


def check_source(value: object) -> str:
    """Return where something was found.

    Raises:
        InvalidInput: it has not 1 to 400 printable characters.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SOURCE or not value.isprintable():
        raise InvalidInput("source", f"give 1 to {MAX_SOURCE} printable characters.")
    return value


def check_version(value: object) -> int | None:
    """Return the version that a caller has read, or None if that does not matter.

    Raises:
        InvalidInput: it is no positive whole number.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidInput("version", "give the version that the key had when you read it.")
    return value


def check_actor(value: object) -> str | None:
    """Return who makes a change, or None for nobody in particular."""
    return None if value is None else check_id("actor", value)


def check_ids(field: str, values: object) -> frozenset[str] | None:
    """Return a set of ids; None is no limit."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise InvalidInput(field, "give a list of ids.")
    return frozenset(check_id(field, value) for value in values)


def check_label(value: object) -> str:
    """Return a label that people can read and tell from others.

    Raises:
        InvalidInput: it has not 1 to 40 characters, or has control characters, direction marks or
            other characters that cannot be seen, or white space around it.
    """
    if not isinstance(value, str):
        raise InvalidInput("label", f"give a string, not {type(value).__name__}.")
    if not 0 < len(value) <= MAX_LABEL:
        raise InvalidInput("label", f"give 1 to {MAX_LABEL} characters.")
    if not value.isprintable():
        raise InvalidInput("label", "control and invisible characters are not allowed.")
    if value != value.strip():
        raise InvalidInput("label", "white space around it is not allowed.")
    return value


def check_time(field: str, value: object) -> datetime | None:
    """Return an aware time in UTC, to the microsecond; None is never.

    Raises:
        InvalidInput: it is no datetime or has no time zone.
    """
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidInput(field, f"give a datetime, not {type(value).__name__}.")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidInput(field, "give a time with its time zone.")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(field, "it is outside of the calendar.") from None
