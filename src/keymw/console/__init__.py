"""The page that people manage keys on: `create_app(keys, secret=…)`, to mount beside an app."""

from __future__ import annotations

from keymw.console.app import create_app

__all__ = ["create_app"]
