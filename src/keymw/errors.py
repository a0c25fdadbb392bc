"""Every exception that keymw raises on purpose, under one root.

A message says what is wrong and what to do about it. None ever holds a token or a digest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from keymw.model import Denied

_KEY_ID = re.compile(r"key_[0-9A-Za-z]{1,32}", re.ASCII)


class KeymwError(Exception):
    """The root of keymw's exceptions."""


class InvalidInput(KeymwError, ValueError):  # noqa: N818 - it is a ValueError by another name
    """A value that cannot be stored or used; nothing was changed."""

    #: Name of the argument that is at fault, as the caller spells it.
    field: str

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class LabelTaken(InvalidInput):
    """The project already has a live key with this label."""

    def __init__(self, label: str) -> None:
        super().__init__("label", f"the project already has a key labelled {label!r}.")


class KeyLimitReached(InvalidInput):
    """The project, or the user, has as many live keys as `Settings` allows."""

    def __init__(self, field: str, limit: int) -> None:
        whose = "project" if field == "project_id" else "user"
        super().__init__(
            field,
            f"the {whose} has {limit} keys, which is the limit: revoke one, or raise "
            f"max_keys_per_{whose}.",
        )


class DigestTaken(InvalidInput):
    """A key with this secret exists already, or existed before."""

    def __init__(self) -> None:
        super().__init__("digest", "a key with this digest has already been stored.")


class KeyNotFound(KeymwError, LookupError):  # noqa: N818
    """No key has this id. What is no id at all is not repeated: it may be a token."""

    #: The id that was asked for.
    key_id: str

    def __init__(self, key_id: str) -> None:
        shown = f"the id {key_id!r}" if _KEY_ID.fullmatch(key_id) else "this id"
        super().__init__(f"There is no key with {shown}: `keymw list` shows those there are.")
        self.key_id = key_id


class KeyNotUsable(KeymwError):  # noqa: N818
    """The key is revoked or expired, so that it can be neither changed nor rolled."""


class VersionConflict(KeymwError):  # noqa: N818
    """The key has been changed since the caller has read it; nothing was changed now."""

    #: The key's version by now.
    current: int

    def __init__(self, current: int) -> None:
        super().__init__(
            f"The key has been changed meanwhile and has version {current} now: read it again."
        )
        self.current = current


class StoreUnavailable(KeymwError):  # noqa: N818
    """The database cannot answer. Nothing is known about the key: a 503, never a 401."""


class SharedCacheUnavailable(KeymwError):  # noqa: N818
    """Redis cannot be listened to at the moment. Requests never see this."""


class NotMigrated(StoreUnavailable):
    """The database is there but has not (all of) keymw's tables."""

    def __init__(self) -> None:
        super().__init__(
            "The database does not have keymw's current tables: "
            "run `keymw migrate`, or call migrate() on the service."
        )


class MiddlewareMissing(KeymwError, RuntimeError):  # noqa: N818
    """`require_scopes` ran in a request that no `KeyAuthMiddleware` has seen."""

    def __init__(self, view: str) -> None:
        super().__init__(
            f"{view} is decorated with require_scopes, but no KeyAuthMiddleware is around the "
            "app, so the request was refused: wrap the app in keymw.asgi.KeyAuthMiddleware or "
            "keymw.wsgi.KeyAuthMiddleware."
        )


class UnmeetableDemand(KeymwError, ValueError):  # noqa: N818
    """Routes demand what cannot be met, so that the app is not started."""

    #: One sentence for each, which names the route, the demand, and what to do.
    problems: list[str]

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"What the app's routes demand cannot be met. {'; '.join(problems)}.")
        self.problems = problems


class AccessDenied(KeymwError):  # noqa: N818
    """Carries a refusal out of a view; what no framework answers, the middleware does.

    It is a framework's own exception too where a framework runs, so it is made by `of`, not by a
    constructor, which is the framework's.
    """

    #: Why the request is refused.
    denied: Denied

    @classmethod
    def of(cls, denied: Denied, *args: object) -> Self:
        """Return the exception that carries a refusal, made from the framework's arguments."""
        error = cls(*args)
        error.denied = denied
        return error
