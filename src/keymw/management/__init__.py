"""The API that people manage keys with: `create_app(keys, …)`, an ASGI app to mount or to run."""

from __future__ import annotations

from keymw.management.app import create_app

__all__ = ["create_app"]
