"""A key as it is asked for, checked, before it has a secret or scopes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput
from keymw.inputs import check_actor, check_id, check_ids, check_label, check_time
from keymw.model import Key
from keymw.principals import KeyKind
from keymw.tokens import digest_of, random_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    Id = str | int | UUID

_ID_LENGTH = 16
_MAX_MASK = 64
#: What can be a token, if it is not surrounded by more of the kind.
_WORD = re.compile(r"[0-9A-Za-z\-._~+/=]+")
#: More of a token than a mask has need to show.
_LONG = re.compile(r"[0-9A-Za-z]{32}")


def new_key(
    now: datetime,
    kind: KeyKind,
    label: str,
    expires_at: datetime | None,
    actor: str | None,
    *,
    project_id: Id | None = None,
    user_id: Id | None = None,
    projects: Iterable[Id] | None = None,
    organizations: Iterable[Id] | None = None,
    mask: str = "",
) -> Key:
    """Return a new key of a project or of a user.

    Raises:
        InvalidInput: an argument is refused; the exception names it.
    """
    return Key(
        id=f"key_{random_text(_ID_LENGTH)}",
        kind=kind,
        label=check_label(label),
        mask=mask,
        scopes=frozenset(),
        version=1,
        created_at=now,
        project_id=check_id("project_id", project_id) if kind is KeyKind.PROJECT_SECRET else None,
        user_id=check_id("user_id", user_id) if kind is KeyKind.PERSONAL else None,
        projects=check_ids("projects", projects),
        organizations=check_ids("organizations", organizations),
        created_by=check_actor(actor),
        expires_at=check_time("expires_at", expires_at),
    )


def imported_key(
    now: datetime,
    kind: KeyKind | str,
    label: str,
    expires_at: datetime | None,
    actor: str | None,
    *,
    project_id: Id | None,
    user_id: Id | None,
    mask: str,
) -> Key:
    """Return a key whose secret was made elsewhere.

    Raises:
        InvalidInput: an argument is refused; the exception names it.
    """
    try:
        kind = KeyKind(kind)
    except ValueError:
        raise InvalidInput("kind", f"{kind!r} is not one of {', '.join(KeyKind)}.") from None
    owner = "project_id" if kind is KeyKind.PROJECT_SECRET else "user_id"
    if (project_id is None) == (owner == "project_id") or (user_id is None) != (
        owner == "project_id"
    ):
        raise InvalidInput(owner, f"a {kind} key belongs to this, and to nothing else.")
    if not isinstance(mask, str) or len(mask) > _MAX_MASK or not mask.isprintable():
        raise InvalidInput("mask", f"give up to {_MAX_MASK} printable characters.")
    return new_key(
        now, kind, label, expires_at, actor, project_id=project_id, user_id=user_id, mask=mask
    )


def check_shown(key: Key, digest: bytes) -> None:
    """Return if what people see of an imported key does not show its secret.

    Raises:
        InvalidInput: something does; the exception names it, and repeats nothing.
    """
    for name in ("mask", "label", "project_id", "user_id"):
        if any(digest_of(word) == digest for word in _WORD.findall(getattr(key, name) or "")):
            raise InvalidInput(name, "it holds the secret itself, which must not be stored.")
    if _LONG.search(key.mask):
        raise InvalidInput("mask", "it shows too much of the secret: a few characters will do.")
