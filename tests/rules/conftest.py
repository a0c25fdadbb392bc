"""The faces, as the tests of the faces have them."""

from __future__ import annotations

from faces.conftest import asgi, face, runner, wsgi

__all__ = ["asgi", "face", "runner", "wsgi"]
