"""The API that people manage keys with: `create_app(keys, …)`, an ASGI app to mount or to run."""

from __future__ import annotations

try:
    from keymw.management.app import create_app
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'The management API needs {error.name}: pip install "keymw[management]"', name=error.name
    ) from error

__all__ = ["create_app"]
