"""Requests without credentials, judged as by a key that nobody has had to issue."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keymw import asgi, wsgi
from keymw.drafts import new_key
from keymw.http import MISSING
from keymw.model import Granted
from keymw.principals import KeyKind, ServicePrincipal, UserPrincipal
from keymw.scopes import check_grant
from keymw.testing.clocks import MovableClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keymw.inputs import Id
    from keymw.principals import Principal
    from keymw.scopes import ScopeCatalog

#: Who acts now, the last one on top. Of the process, and not of a thread or a context: test clients
#: run apps in threads and event loops of their own.
_acting: list[Granted] = []
_lock = threading.Lock()


@contextmanager
def acting_as(
    project: Id,
    scopes: Iterable[str],
    *,
    label: str = "test",
    catalog: ScopeCatalog | None = None,
) -> Iterator[ServicePrincipal]:
    """Have requests without credentials judged as by a project secret key.

    In every app with a `KeyAuthMiddleware` in this process, whatever thread or event loop serves
    it, and for as long as the block lasts. Requests that send a token are judged by the service, as
    ever. Within each other, the innermost block counts.

    Args:
        project: the key's project.
        scopes: the key's scopes; they are checked as when a key is issued.
        label: the key's label.
        catalog: the scopes that exist; the app's own, to be told of those that do not.

    Raises:
        InvalidInput: an argument is refused, as by `issue_project_key`.
    """
    now = MovableClock().now()
    key = new_key(now, KeyKind.PROJECT_SECRET, label, None, None, project_id=project)
    granted = check_grant(KeyKind.PROJECT_SECRET, scopes, catalog)
    principal = ServicePrincipal(key.id, str(key.project_id), key.label, granted)
    with _in_place(principal):
        yield principal


@contextmanager
def acting_as_user(
    user: Id,
    scopes: Iterable[str],
    *,
    projects: Iterable[Id] | None = None,
    organizations: Iterable[Id] | None = None,
    label: str = "test",
    catalog: ScopeCatalog | None = None,
) -> Iterator[UserPrincipal]:
    """Have requests without credentials judged as by a personal key.

    As `acting_as`; the arguments are those of `issue_personal_key`.

    Raises:
        InvalidInput: an argument is refused, as by `issue_personal_key`.
    """
    key = new_key(
        MovableClock().now(),
        KeyKind.PERSONAL,
        label,
        None,
        None,
        user_id=user,
        projects=projects,
        organizations=organizations,
    )
    granted = check_grant(KeyKind.PERSONAL, scopes, catalog)
    principal = UserPrincipal(
        key.id, str(key.user_id), key.label, granted, key.projects, key.organizations
    )
    with _in_place(principal):
        yield principal


@contextmanager
def _in_place(principal: Principal) -> Iterator[None]:
    """Put a key in the place of none; blocks may end in any order."""
    granted = Granted(principal)
    with _lock:
        _acting.append(granted)
        _show()
    try:
        yield
    finally:
        with _lock:
            # By identity: keys may be alike.
            _acting[:] = [each for each in _acting if each is not granted]
            _show()


def _show() -> None:
    verdict = _acting[-1] if _acting else MISSING
    for face in (asgi.KeyAuthMiddleware, wsgi.KeyAuthMiddleware):
        face.without_key = verdict
