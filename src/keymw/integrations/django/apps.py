"""keymw among `INSTALLED_APPS`: what `manage.py check` says about it."""

from __future__ import annotations

import sys
from typing import Any

from keymw.integrations.django.configuration import problems
from keymw.integrations.django.middleware import KeyAuthMiddleware
from keymw.integrations.extra import extra

with extra("django", "django"):
    from django.apps import AppConfig
    from django.conf import settings
    from django.core.checks import Error, Tags, register
    from django.utils.module_loading import import_string


class KeymwConfig(AppConfig):
    """Registers keymw's system checks; it has no models."""

    name = "keymw.integrations.django"
    label = "keymw"
    verbose_name = "keymw"

    def ready(self) -> None:
        """Register the checks."""
        register(check_middleware, Tags.security)
        register(check_views, Tags.security)


def check_middleware(**_: Any) -> list[Error]:
    """Check the setting `KEYMW` where `KeyAuthMiddleware` is listed."""
    listed = [import_string(path) for path in settings.MIDDLEWARE]
    if not any(
        isinstance(found, type) and issubclass(found, KeyAuthMiddleware) for found in listed
    ):
        return []
    return [Error(problem, id="keymw.E001") for problem in problems()]


def check_views(**_: Any) -> list[Error]:
    """Check what the views of REST framework declare for `HasScopes`."""
    if "rest_framework.views" not in sys.modules:
        return []
    from keymw.integrations.rest_framework import undeclared  # noqa: PLC0415 - the app's own

    return [Error(message, obj=view, id="keymw.E002") for view, message in undeclared()]
