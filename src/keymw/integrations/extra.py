"""What an import of an integration says when its framework is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def extra(name: str, *packages: str) -> Iterator[None]:
    """Import packages that an extra of keymw brings.

    Args:
        name: of the extra.
        packages: top-level names that are imported here, and that the extra brings.

    Raises:
        ImportError: one of them is not installed; the message names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in packages:
            raise
        raise ModuleNotFoundError(
            f"{missing} is not installed: pip install 'keymw[{name}]'.", name=error.name
        ) from error
