"""Rules in front of an app, where a decorator would be too late or cannot be.

A guard stands between a face and its app: it refuses as a decorated route would that no framework
serves, and the face answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from keymw.access import KEY
from keymw.errors import AccessDenied, InvalidInput
from keymw.rules.reading import WEBSOCKET
from keymw.rules.ruleset import Rules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keymw.access import Connection
    from keymw.rules.rule import Rule
    from keymw.scopes import ScopeCatalog

    AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
    WsgiApp = Callable[[Any, Any], Iterable[bytes]]


def guard_asgi(app: AsgiApp, given: Rules | Iterable[Rule], keys: Any) -> AsgiApp:
    """Return an ASGI app that lets through to `app` what rules let through.

    Args:
        app: any ASGI app.
        given: the face's `rules`.
        keys: the face's service.

    Raises:
        InvalidInput: there is no rule, or one has a scope that the catalog has not.
        TypeError: `given` is neither `Rules` nor a list of `Rule`.
    """
    rules = _checked(given, keys)

    async def guarded(scope: Connection, receive: Any, send: Any) -> None:
        denied = rules.judge(scope[KEY].verdict, scope)
        if denied is None:
            await app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await receive()  # "websocket.connect": only then may it be answered
        raise AccessDenied.of(denied, denied.detail)

    guarded.rules = rules  # type: ignore[attr-defined]  # for `keymw.routes` to read
    return guarded


def guard_wsgi(app: WsgiApp, given: Rules | Iterable[Rule], keys: Any) -> WsgiApp:
    """Return a WSGI app that lets through to `app` what rules let through.

    Args:
        app: any WSGI app.
        given: the face's `rules`.
        keys: the face's service.

    Raises:
        InvalidInput: there is no rule, or one has a scope that the catalog has not, or names
            WebSockets, which WSGI does not tell from other requests.
        TypeError: `given` is neither `Rules` nor a list of `Rule`.
    """
    rules = _checked(given, keys)
    for number, rule in enumerate(rules.rules, 1):
        if WEBSOCKET in rule.takes:
            raise InvalidInput(
                "rules", f"rule {number} ({rule}): WSGI opens WebSockets by GET: name GET."
            )

    def guarded(environ: Connection, start_response: Any) -> Iterable[bytes]:
        denied = rules.judge(environ[KEY].verdict, environ)
        if denied is None:
            return app(environ, start_response)
        raise AccessDenied.of(denied, denied.detail)

    guarded.rules = rules  # type: ignore[attr-defined]  # for `keymw.routes` to read
    return guarded


def _checked(given: Rules | Iterable[Rule], keys: Any) -> Rules:
    """Return a face's rules, whose scopes its service knows."""
    if isinstance(given, Rules):
        rules = given
    elif isinstance(given, Iterable):
        rules = Rules(given, default="deny")
        if not rules.rules:
            raise InvalidInput(
                "rules", 'the list is empty: write Rules([], default="deny") to refuse everything.'
            )
    else:
        raise TypeError(f"rules: give Rules(…) or a list of Rule(…), not {type(given).__name__}.")
    catalog: ScopeCatalog | None = keys.catalog
    for number, rule in enumerate(rules.rules, 1):
        needed = rule.demand.needed if rule.demand is not None else frozenset[str]()
        if catalog is not None and (unknown := needed - catalog.scopes):
            raise InvalidInput(
                "rules", f"rule {number} ({rule}): {min(unknown)!r} is not in the catalog."
            )
    return rules
