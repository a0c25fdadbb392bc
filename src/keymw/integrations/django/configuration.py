"""The setting `KEYMW`, of which `KeyAuthMiddleware` makes the faces."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from keymw.asgi import KeyAuthMiddleware as AsgiFace
from keymw.integrations.extra import extra
from keymw.wsgi import KeyAuthMiddleware as WsgiFace

with extra("django", "django"):
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The services' names, with what each is for.
SERVICES = {"SERVICE": WsgiFace, "ASYNC_SERVICE": AsgiFace}
_HINTS = {
    "SERVICE": "a keymw.KeyService, or a dotted path to one: Django calls the middleware "
    "synchronously here, as it does under WSGI",
    "ASYNC_SERVICE": "a keymw.AsyncKeyService, or a dotted path to one: the app is served under "
    "ASGI",
}


def wsgi_face(app: Any) -> WsgiFace:
    """Return the WSGI face around what an environ is handed to.

    Raises:
        ImproperlyConfigured: the setting is not right.
    """
    face: WsgiFace = _face("SERVICE", app)
    return face


def asgi_face(app: Any) -> AsgiFace:
    """Return the ASGI face around what a scope is handed to.

    Raises:
        ImproperlyConfigured: the setting is not right.
    """
    face: AsgiFace = _face("ASYNC_SERVICE", app)
    return face


def problems() -> Iterator[str]:
    """Yield what is wrong with the setting, for whichever services it names."""
    given = getattr(settings, "KEYMW", None)
    named = [name for name in SERVICES if isinstance(given, dict) and name in given]
    for name in named or ["SERVICE"]:
        try:
            _face(name, None)
        except ImproperlyConfigured as error:
            yield str(error)


def _face(name: str, app: Any) -> Any:
    given = getattr(settings, "KEYMW", None)
    if not isinstance(given, dict) or name not in given:
        raise ImproperlyConfigured(f"Set KEYMW = {{{name!r}: …}} to {_HINTS[name]}.")
    face = SERVICES[name]
    names = {option.upper() for option in inspect.signature(face).parameters} - {"APP", "KEYS"}
    if unknown := given.keys() - names - SERVICES.keys():
        raise ImproperlyConfigured(
            f"KEYMW has {', '.join(sorted(map(str, unknown)))}, which is none of "
            f"{', '.join([*SERVICES, *sorted(names)])}."
        )
    service = given[name]
    if isinstance(service, str):
        try:
            service = import_string(service)
        except ImportError as error:
            raise ImproperlyConfigured(f"KEYMW[{name!r}]: {error}") from error
    try:
        return face(app, service, **{n.lower(): given[n] for n in given.keys() & names})
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"KEYMW: {error} {name} has to be {_HINTS[name]}.") from error
