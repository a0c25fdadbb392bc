"""The pages about keys. What is allowed, the desk decides; what is wrong, stands at its field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.console.forms import (
    GRACES,
    Typed,
    choices,
    read_grace,
    read_version,
    status_of,
    wrong,
)
from keymw.console.pages import state
from keymw.errors import InvalidInput, KeyNotUsable, VersionConflict
from keymw.management.desk import WRITE
from keymw.management.problems import Forbidden

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from starlette.responses import Response

    from keymw.console.visit import Visit
    from keymw.errors import KeymwError
    from keymw.model import IssuedKey, Key

#: What a form is shown again for.
_REFUSALS = (InvalidInput, KeyNotUsable, Forbidden)
_RECENT = 10
_KEY = ("label", "scopes", "expires_at")


async def home(visit: Visit) -> Response:
    """Go to one's own keys."""
    return visit.go(f"{visit.base}/me")


async def keys(visit: Visit) -> Response:
    """Show the keys of the place."""
    after, ended = visit.query("after"), visit.query("ended") is not None
    found, cursor = await visit.desk.list(visit.project_id, after=after, include_revoked=ended)
    return visit.show("keys.html", keys=found, next=cursor, after=after, ended=ended)


async def key(visit: Visit) -> Response:
    """Show one key, its old secrets that still work, and what has happened to it lately."""
    shown = await visit.desk.get(visit.project_id, visit.key_id)
    events, cursor = await visit.desk.history(visit.project_id, visit.key_id, limit=_RECENT)
    is_active = state(shown, visit.now) == "active"
    return visit.show(
        "key.html",
        key=shown,
        this=visit.this,
        state=state(shown, visit.now),
        in_grace=[old for old in shown.retired if is_active and old.valid_until > visit.now],
        events=events,
        next=cursor,
    )


async def new(visit: Visit) -> Response:
    """Show the form for a new key."""
    await visit.desk.place(visit.project_id)
    _check_write(visit)
    return _new_form(visit, Typed())


async def create(visit: Visit) -> Response:
    """Make a key and show its secret, this once."""
    typed = Typed.read(visit.form)
    try:
        issued = await visit.desk.create(
            visit.project_id, typed.label, typed.scopes, expires_at=typed.expiry()
        )
    except _REFUSALS as error:
        await visit.desk.place(visit.project_id)
        _check_write(visit)
        return _new_form(visit, typed, error)
    return _secret(visit, issued)


async def edit(visit: Visit) -> Response:
    """Show the form for a key."""
    shown = await visit.desk.get(visit.project_id, visit.key_id)
    _check_write(visit)
    return _edit_form(visit, shown, Typed.of(shown))


async def update(visit: Visit) -> Response:
    """Change a key; of two who do it at once, the second sees both."""
    shown = await visit.desk.get(visit.project_id, visit.key_id)
    typed = Typed.read(visit.form)
    try:
        await visit.desk.update(
            visit.project_id,
            visit.key_id,
            label=typed.label,
            scopes=typed.scopes,
            expires_at=typed.new_expiry(shown),
            version=read_version(visit.form),
        )
    except VersionConflict as error:
        current = await visit.desk.get(visit.project_id, visit.key_id)
        return _edit_form(visit, current, typed, error)
    except _REFUSALS as error:
        _check_write(visit)
        return _edit_form(visit, shown, typed, error)
    return visit.go(visit.this)


async def roll_form(visit: Visit) -> Response:
    """Ask how long the old secret is to work on."""
    shown = await visit.desk.get(visit.project_id, visit.key_id)
    _check_write(visit)
    return _roll_form(visit, shown)


async def roll(visit: Visit) -> Response:
    """Give a key a new secret and show it, this once."""
    try:
        grace = read_grace(visit.form)
        rolled = await visit.desk.roll(
            visit.project_id, visit.key_id, grace=grace, version=read_version(visit.form)
        )
    except (*_REFUSALS, VersionConflict) as error:
        shown = await visit.desk.get(visit.project_id, visit.key_id)
        _check_write(visit)
        return _roll_form(visit, shown, error)
    at = rolled.key.last_rolled_at
    return _secret(visit, rolled, at + grace if grace and at else None)


async def delete_form(visit: Visit) -> Response:
    """Ask whether a key is to end."""
    shown = await visit.desk.get(visit.project_id, visit.key_id)
    _check_write(visit)
    return _delete_form(visit, shown)


async def delete(visit: Visit) -> Response:
    """End a key."""
    reason = visit.typed("reason").strip() or None
    try:
        await visit.desk.revoke(visit.project_id, visit.key_id, reason=reason)
    except _REFUSALS as error:
        shown = await visit.desk.get(visit.project_id, visit.key_id)
        _check_write(visit)
        return _delete_form(visit, shown, error)
    return visit.go(visit.this)


async def log(visit: Visit) -> Response:
    """Show what has happened in the place."""
    events, cursor = await visit.desk.history(visit.project_id, before=visit.query("before"))
    of = "your own keys" if visit.project_id is None else f"project {visit.project_id}"
    return visit.show(
        "history.html",
        events=events,
        next=cursor,
        of=of,
        with_key=True,
        back=visit.here,
        back_to=visit.place,
        log=f"{visit.here}/history",
    )


async def log_of_key(visit: Visit) -> Response:
    """Show what has happened to a key."""
    shown = await visit.desk.get(visit.project_id, visit.key_id)
    events, cursor = await visit.desk.history(
        visit.project_id, visit.key_id, before=visit.query("before")
    )
    return visit.show(
        "history.html",
        events=events,
        next=cursor,
        of=shown.label,
        with_key=False,
        back=visit.this,
        back_to=shown.label,
        log=f"{visit.this}/history",
    )


def _check_write(visit: Visit) -> None:
    if not visit.may_write:
        raise Forbidden(f"Your API key has not the scope {WRITE!r}, so it cannot change keys.")


def _errors(error: KeymwError | None, *fields: str) -> Mapping[str, str]:
    if error is None or isinstance(error, VersionConflict):  # of which the page says more
        return {}
    return wrong(error, *fields)


def _status(error: KeymwError | None) -> int:
    return 200 if error is None else status_of(error)


def _new_form(visit: Visit, typed: Typed, error: KeymwError | None = None) -> Response:
    return visit.show(
        "form.html",
        _status(error),
        heading="New key",
        action=f"{visit.here}/new",
        button="Create key",
        back=visit.here,
        back_to=visit.place,
        typed=typed,
        errors=_errors(error, *_KEY),
        choices=choices(visit.principal, visit.project_id, visit.catalog, None),
        version=None,
        current=None,
    )


def _edit_form(visit: Visit, shown: Key, typed: Typed, error: KeymwError | None = None) -> Response:
    is_conflict = isinstance(error, VersionConflict)
    is_first = error is None or is_conflict
    return visit.show(
        "form.html",
        _status(error),
        heading=f"Edit {shown.label}",
        action=f"{visit.this}/edit",
        button="Save",
        back=visit.this,
        back_to=shown.label,
        typed=typed,
        errors=_errors(error, *_KEY),
        choices=choices(visit.principal, visit.project_id, visit.catalog, shown),
        # Otherwise the one that the page had: what came in between has not been seen.
        version=shown.version if is_first else visit.typed("version"),
        current=shown if is_conflict else None,
    )


def _roll_form(visit: Visit, shown: Key, error: KeymwError | None = None) -> Response:
    return visit.show(
        "roll.html",
        _status(error),
        key=shown,
        this=visit.this,
        errors=_errors(error, "grace"),
        conflict=isinstance(error, VersionConflict),
        graces=GRACES,
        grace=visit.typed("grace") or "86400",
        is_mine=shown.id == visit.principal.key_id,
    )


def _delete_form(visit: Visit, shown: Key, error: KeymwError | None = None) -> Response:
    return visit.show(
        "delete.html",
        _status(error),
        key=shown,
        this=visit.this,
        errors=_errors(error, "reason"),
        reason=visit.typed("reason"),
        is_mine=shown.id == visit.principal.key_id,
    )


def _secret(visit: Visit, issued: IssuedKey, grace_until: datetime | None = None) -> Response:
    spread = None
    if issued.propagation is not None and grace_until is None:
        seconds = issued.propagation.bound.total_seconds()
        spread = f"Within {seconds:g} s the old secret is refused everywhere."
    return visit.show(
        "secret.html",
        key=issued.key,
        token=issued.token,
        grace_until=grace_until,
        spread=spread,
    )
