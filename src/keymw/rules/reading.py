"""What a request asks, as the app will read it; and whether apps might read it differently.

A rule guards an app only if both mean the same path and the same method. So nothing is mended here:
what one of them might mend, and another one not, is no request that can be judged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from keymw.rules.templates import ODD, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keymw.access import Connection

#: How rules, which know it for a method of its own, name the opening of a WebSocket.
WEBSOCKET = "WEBSOCKET"

#: Letters, digits, `-`, `.`, `_`, `/` and the backslash written as %XX, which no client has to,
#: and bytes that stand for characters in some unknown encoding.
_ODD_RAW = re.compile(
    r"%(?:2[DEFdef]|3[0-9]|[46][1-9A-Fa-f]|5[0-9ACFacf]|7[0-9Aa])|[^\x21-\x7e]", re.ASCII
)
_ODD_FOLDED = re.compile(r"//|/\.\.?(?:/|\Z)|\\")
_METHOD = re.compile(r"[A-Z]+(?:[-_][A-Z]+)*", re.ASCII)
#: By which apps, or their middleware, may be told to take a request for one with another method.
_OVERRIDES = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
_ORIGIN = frozenset({b"origin"})
_ANNOUNCED = frozenset({b"access-control-request-method"})


class Reading(NamedTuple):
    """A request that can be read in one way only."""

    method: str
    #: As the app routes on it: decoded, below the app's own root.
    path: str
    #: Folded, without a slash at its end.
    loose: str
    #: Of a CORS preflight: the method of the request that is to follow.
    announced: str | None = None


def read(connection: Connection) -> Reading | None:
    """Return what is asked, or None if it can be read in more than one way."""
    is_wsgi = "REQUEST_METHOD" in connection
    path = _wsgi_path(connection) if is_wsgi else _asgi_path(connection)
    method = _method(connection, is_wsgi=is_wsgi)
    if path is None or method is None or ODD.search(path):
        return None
    loose = fold(path)
    if _ODD_FOLDED.search(loose) or loose.count("/") != path.count("/"):
        return None
    announced = _announced(connection, is_wsgi=is_wsgi) if method == "OPTIONS" else None
    return Reading(method, path, loose.removesuffix("/"), announced)


def _asgi_path(scope: Connection) -> str | None:
    """Return the path below `root_path`, where all frameworks take the same for it."""
    raw = (scope.get("raw_path") or b"").decode("latin-1")
    if _ODD_RAW.search(raw.partition("?")[0]):
        return None
    path: str = scope["path"]
    root = scope.get("root_path") or ""
    if root in ("", "/"):
        return _from_root(path)
    if root.endswith("/"):
        return None  # Starlette then leaves it in the path, others take it off
    if path == root or path.startswith(f"{root}/"):
        return _from_root(path[len(root) :])
    # Servers may leave the root out of the path. Litestar looks for it anywhere in it.
    return None if root in path else _from_root(path)


def _wsgi_path(environ: Connection) -> str | None:
    """Return the path below `SCRIPT_NAME`, decoded (PEP 3333, "bytes in disguise")."""
    for name in ("RAW_URI", "REQUEST_URI"):
        if _ODD_RAW.search((environ.get(name) or "").partition("?")[0]):
            return None
    try:
        return _from_root((environ.get("PATH_INFO") or "").encode("latin-1").decode())
    except UnicodeError:
        return None


def _from_root(path: str) -> str | None:
    """Return a path that starts with a slash: an empty one is that, by every framework."""
    return path or "/" if path[:1] in ("", "/") else None


def _method(connection: Connection, *, is_wsgi: bool) -> str | None:
    """Return the method if it is the one that the app will see, whatever it honours."""
    if not is_wsgi and connection["type"] == "websocket":
        return WEBSOCKET
    method: str = connection["REQUEST_METHOD" if is_wsgi else "method"]
    if method == WEBSOCKET or not _METHOD.fullmatch(method):
        return None
    honoured = _fields(connection, _OVERRIDES, is_wsgi=is_wsgi)
    return None if any(value.strip().upper() != method for value in honoured) else method


def _announced(connection: Connection, *, is_wsgi: bool) -> str | None:
    """Return the method that a CORS preflight asks about (Fetch Standard, CORS-preflight)."""
    origins = list(_fields(connection, _ORIGIN, is_wsgi=is_wsgi))
    methods = list(_fields(connection, _ANNOUNCED, is_wsgi=is_wsgi))
    if len(origins) != 1 or len(methods) != 1 or methods[0] == WEBSOCKET:
        return None
    return methods[0] if _METHOD.fullmatch(methods[0]) else None


def _fields(connection: Connection, names: frozenset[bytes], *, is_wsgi: bool) -> Iterator[str]:
    """Yield the values of header fields with these names."""
    if is_wsgi:
        for name in names:
            value = connection.get(f"HTTP_{name.decode().upper().replace('-', '_')}")
            if value is not None:
                yield value
        return
    for name, content in connection["headers"]:
        if name.lower() in names:
            yield content.decode("latin-1")
