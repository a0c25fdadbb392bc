"""Django, under WSGI and under ASGI: function and class-based views, a middleware, checks.

An app is wrapped in a face, `keymw.wsgi` or `keymw.asgi`; or it lists `KeyAuthMiddleware` in
`MIDDLEWARE`, which is that same face inside Django. With this module in `INSTALLED_APPS`,
`manage.py check` finds what is configured wrongly.
"""

from __future__ import annotations

from keymw.integrations.django.middleware import KeyAuthMiddleware
from keymw.integrations.django.refusals import (
    Refusal,
    called,
    connection,
    of,
    parameter,
    permission_denied,
    refuse,
    serving,
)

__all__ = [
    "KeyAuthMiddleware",
    "Refusal",
    "called",
    "connection",
    "of",
    "parameter",
    "permission_denied",
    "refuse",
    "serving",
]
