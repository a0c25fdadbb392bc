"""The demands that the views of every framework make."""

from __future__ import annotations

import functools

from keymw import KeyKind, current_principal, require_scopes

KINDS = [KeyKind.PROJECT_SECRET, "personal"]

guard = require_scopes("endpoint:read", kinds=KINDS)
of_project = require_scopes("endpoint:read", kinds=KINDS, project="project_id")
humans = require_scopes("endpoint:read")


def who():
    return current_principal().display_name


def timed(function):
    """Any decorator out there."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def timed_async(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        return await function(*args, **kwargs)

    return wrapper
