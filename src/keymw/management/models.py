"""What clients send: bodies and query strings, checked and described by one source.

What a value may be as such is said here; what it may be in keymw (a label that is free, a scope of
the catalog), the service says.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from keymw.errors import InvalidInput
from keymw.inputs import MAX_ID, MAX_LABEL, MAX_REASON, check_id, check_label, check_reason

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PAGE = 100
#: Seconds; who needs the old secret for longer has not rolled the key.
MAX_GRACE = 366 * 24 * 3600
#: More scopes, or ids, than any key needs.
MAX_ITEMS = 500

# RFC 3339 §5.6. Pydantic takes more than that for a time: numbers, and dates alone.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)


def _checked(check: Callable[[Any], Any]) -> AfterValidator:
    """Return a validator that refuses what the service would refuse, as it does."""

    def validate(value: Any) -> Any:
        try:
            return check(value)
        except InvalidInput as error:
            raise ValueError(str(error).removeprefix(f"{error.field}: ")) from None

    return AfterValidator(validate)


def _time(value: object) -> object:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("give a time with its time zone, as in 2031-01-31T12:00:00Z.")
    return datetime.fromisoformat(value.upper())


def _whole(text: str) -> int:
    """Return a number of a query string; Python's own reading takes underscores and more."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("give a whole number.")
    return int(text)


def _flag(text: str) -> bool:
    """Return a flag of a query string."""
    if text not in ("true", "false"):
        raise ValueError("give true or false.")
    return text == "true"


def _integral(value: object) -> object:
    """Return a number of JSON, in which 3.0 is an integer, too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Label = Annotated[
    str,
    _checked(check_label),
    Field(description="1 to 40 printable characters, with no white space around them."),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": MAX_LABEL, "format": "keymw-label"}
    ),
]
Reason = Annotated[
    str,
    _checked(check_reason),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": MAX_REASON, "format": "keymw-text"}
    ),
]
Id = Annotated[
    str,
    _checked(lambda value: check_id("id", value)),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_ID, "format": "keymw-id"}),
]
Time = Annotated[AwareDatetime, BeforeValidator(_time)]
Whole = Annotated[int, BeforeValidator(_integral)]
Version = Annotated[int, Field(ge=1, le=2**53 - 1), BeforeValidator(_integral)]
ProjectScope = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*:(read|write)$")]
PersonalScope = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z0-9_]*:(read|write))$")]
ProjectScopes = Annotated[list[ProjectScope], Field(min_length=1, max_length=MAX_ITEMS)]
PersonalScopes = Annotated[list[PersonalScope], Field(min_length=1, max_length=MAX_ITEMS)]
Ids = Annotated[list[Id], Field(max_length=MAX_ITEMS)]


def optional(**more: Any) -> Any:
    """Return a field that may be left out, and is None then, but cannot be sent as null."""
    return Field(default_factory=lambda: None, **more)


class Body(BaseModel):
    """What clients send: fields that are not known are refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewProjectKey(Body):
    """A project secret key to be made."""

    label: Label
    scopes: ProjectScopes
    expires_at: Time | None = None


class NewPersonalKey(Body):
    """A personal key of the caller's to be made; no limits are those of the caller's own key."""

    label: Label
    scopes: PersonalScopes
    expires_at: Time | None = None
    projects: Ids | None = None
    organizations: Ids | None = None


class KeyChange(Body):
    """What is left out stays as it is."""

    label: Label = optional()
    expires_at: Time | None = Field(None, description="Null is never.")
    version: Version = optional(
        description="The version that the change was made for: if it is not the key's, 409."
    )


class ProjectKeyChange(KeyChange):
    """A change to a project secret key; what is left out stays as it is."""

    scopes: ProjectScopes = optional()


class PersonalKeyChange(KeyChange):
    """A change to a personal key; what is left out stays as it is."""

    scopes: PersonalScopes = optional()


class Roll(Body):
    """How a key is rolled."""

    grace_seconds: Whole = Field(
        0, ge=0, le=MAX_GRACE, description="For how long the old secret still works."
    )
    version: Version = optional(
        description="The version that is to be rolled: if it is not the key's, 409."
    )


class Paging(BaseModel):
    """Which page of the activity log."""

    limit: Annotated[int, BeforeValidator(_whole)] = Field(50, ge=1, le=MAX_PAGE)
    cursor: str = optional(pattern=r"^[1-9][0-9]{0,17}$", description="`next` of the page before.")


class KeyPaging(Paging):
    """Which page of a list of keys."""

    cursor: str = optional(
        pattern=r"^key_[0-9A-Za-z]{1,32}$", description="`next` of the page before."
    )
    include_revoked: Annotated[bool, BeforeValidator(_flag)] = False


class Ending(BaseModel):
    """Why a key is revoked."""

    reason: Reason = optional(description="Why, for the activity log.")
