"""API-key authentication for any ASGI or WSGI app.

Importing keymw loads neither SQLAlchemy nor Redis nor a framework: the services are imported when
they are first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.decorators import current_principal, require_scopes
from keymw.errors import (
    DigestTaken,
    InvalidInput,
    KeymwError,
    KeyNotFound,
    KeyNotUsable,
    LabelTaken,
    MiddlewareMissing,
    NotMigrated,
    StoreUnavailable,
)
from keymw.model import CacheStats, Denied, Event, Granted, IssuedKey, Key, Propagation, Reason
from keymw.principals import AnonymousPrincipal, KeyKind, ServicePrincipal, UserPrincipal
from keymw.scopes import ScopeCatalog
from keymw.settings import Settings

if TYPE_CHECKING:
    from keymw.aio import AsyncKeyService
    from keymw.service import KeyService

__version__ = "0.1.0"

__all__ = [
    "AnonymousPrincipal",
    "AsyncKeyService",
    "CacheStats",
    "Denied",
    "DigestTaken",
    "Event",
    "Granted",
    "InvalidInput",
    "IssuedKey",
    "Key",
    "KeyKind",
    "KeyNotFound",
    "KeyNotUsable",
    "KeyService",
    "KeymwError",
    "LabelTaken",
    "MiddlewareMissing",
    "NotMigrated",
    "Propagation",
    "Reason",
    "ScopeCatalog",
    "ServicePrincipal",
    "Settings",
    "StoreUnavailable",
    "UserPrincipal",
    "current_principal",
    "require_scopes",
]


def __getattr__(name: str) -> object:
    if name == "KeyService":
        from keymw.service import KeyService  # noqa: PLC0415

        return KeyService
    if name == "AsyncKeyService":
        from keymw.aio import AsyncKeyService  # noqa: PLC0415

        return AsyncKeyService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
