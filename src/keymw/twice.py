"""A face within another one of the same service: the key has been looked up already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keymw.access import KEY
from keymw.model import Granted

if TYPE_CHECKING:
    from keymw.access import Access, Connection


def known(connection: Connection, value: bytes | str | None, face: Any) -> Granted | None:
    """Return the verdict of an outer face, if this one would have to come to the same.

    A refusal has not come so far, and no key is not worth remembering. A key is known by the end of
    its secret: what stands between the faces may have put another one in its place, or none.

    Args:
        connection: as the inner face is given it.
        value: of its `Authorization`, if it has any.
        face: the inner one.
    """
    access: Access | None = connection.get(KEY)
    outer: Any = getattr(access, "face", None)
    if access is None or outer is None or outer._keys is not face._keys:  # noqa: SLF001 - its like
        return None
    verdict = access.verdict
    if not isinstance(verdict, Granted):
        return None
    if value is None:
        return verdict if outer._strip else None  # noqa: SLF001 - likewise
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    mask = verdict.principal.mask
    return verdict if mask and text.rstrip(" \t").endswith(mask[-4:]) else None
