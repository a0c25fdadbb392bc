"""Reads forms, and says what is wrong with them in the words of the page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from keymw.errors import InvalidInput, KeyLimitReached
from keymw.management.problems import KINDS, Unacceptable
from keymw.management.reading import MAX_BODY, read_raw
from keymw.principals import WILDCARD, KeyKind, holds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import EllipsisType

    from starlette.requests import Request

    from keymw.errors import KeymwError
    from keymw.model import Key
    from keymw.principals import UserPrincipal
    from keymw.scopes import ScopeCatalog

Form = dict[str, list[str]]

#: How long the old secret may work on, in seconds, and how the page says it.
GRACES = (("0", "not at all"), ("3600", "1 hour"), ("86400", "24 hours"), ("604800", "7 days"))

_MAX_FIELDS = 1000


async def read_form(request: Request) -> Form:
    """Return the fields of a form, each with its values.

    Raises:
        Unacceptable: it is too large, or not a form.
    """
    raw = await read_raw(request, MAX_BODY)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if raw and media_type != "application/x-www-form-urlencoded":
        raise Unacceptable(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "This is not a form."
        )
    try:
        # A body that is not UTF-8 gets replacement characters, which no label or scope has.
        return parse_qs(
            raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise Unacceptable(
            HTTPStatus.BAD_REQUEST, "malformed_form", "The form has too many fields."
        ) from None


def one(form: Form, name: str) -> str:
    """Return the value of a field; the empty string where there is none."""
    return form.get(name, [""])[0]


@dataclass(frozen=True, slots=True)
class Typed:
    """A key's fields, as they stand in the form."""

    label: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: str = ""

    @classmethod
    def of(cls, key: Key) -> Typed:
        """Return the fields of a key."""
        return cls(key.label, tuple(sorted(key.scopes)), _minute(key.expires_at))

    @classmethod
    def read(cls, form: Form) -> Typed:
        """Return what was sent. Scopes come as one field of words, or as many fields."""
        scopes = tuple(" ".join(form.get("scopes", [])).replace(",", " ").split())
        return cls(one(form, "label"), scopes, one(form, "expires_at"))

    def expiry(self) -> datetime | None:
        """Return when the key is to expire.

        Raises:
            InvalidInput: it is no time.
        """
        if not self.expires_at:
            return None
        try:
            at = datetime.fromisoformat(self.expires_at)
        except ValueError:
            raise InvalidInput("expires_at", "give a date and a time.") from None
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    def new_expiry(self, key: Key) -> datetime | EllipsisType | None:
        """Return when a key is to expire; `...` if that stays, for the page has no seconds."""
        return ... if self.expires_at == _minute(key.expires_at) else self.expiry()


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M}"


def read_version(form: Form) -> int | None:
    """Return the version of the key that the page has shown.

    Raises:
        InvalidInput: it is no number.
    """
    text = one(form, "version")
    if text.isascii() and text.isdigit() and len(text) < len(str(2**63)):
        return int(text)
    raise InvalidInput("version", "load the page again.")


def read_grace(form: Form) -> timedelta:
    """Return for how long the old secret is to work on.

    Raises:
        InvalidInput: it is none of the choices.
    """
    text = one(form, "grace") or "0"
    if text not in dict(GRACES):
        raise InvalidInput("grace", "take one of the choices.")
    return timedelta(seconds=int(text))


def choices(
    principal: UserPrincipal, project_id: str | None, catalog: ScopeCatalog | None, key: Key | None
) -> list[str] | None:
    """Return the scopes to choose from; None if any may be written.

    Those that the caller may hand out, and those that the key has already.
    """
    if catalog is None:
        return None
    kind = KeyKind.PERSONAL if project_id is None else KeyKind.PROJECT_SECRET
    every = catalog.scopes | {WILDCARD} if kind is KeyKind.PERSONAL else catalog.project_secret
    held = {scope for scope in every if holds(principal, scope)}
    return sorted(held | (key.scopes if key else frozenset()))


def wrong(error: KeymwError, *fields: str) -> Mapping[str, str]:
    """Return what is wrong, by field; under no name, what is none of the form's fields'."""
    field = getattr(error, "field", None)
    text = str(error).removeprefix(f"{field}: ")
    if isinstance(error, KeyLimitReached):
        text = text.partition(":")[0] + ": delete one first."
    return {field if field in fields else "": text[:1].upper() + text[1:]}


def status_of(error: KeymwError) -> int:
    """Return the status of the answer that tells of an error."""
    if isinstance(error, Unacceptable):
        return error.status.value
    return next(kind.status.value for base, kind in KINDS if isinstance(error, base))
