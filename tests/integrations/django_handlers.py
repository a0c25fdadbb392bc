"""A root URLconf with a handler of its own for what is denied."""

from __future__ import annotations

from django.http import HttpResponse

from integrations.django_project import urlpatterns
from keymw.integrations.django import Refusal

__all__ = ["handler403", "urlpatterns"]


def handler403(request, exception):
    reason = f": {exception.denied.reason}" if isinstance(exception, Refusal) else ""
    return HttpResponse(f"handled{reason}", status=403)
