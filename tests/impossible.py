"""Routes whose demand cannot be met, and which the check at start does not see.

They are in the apps that tests ask, to show that nobody is let in even where no check was made.
"""

from __future__ import annotations

from keymw.routes import checking

#: Where tests have them.
_PATHS = ("/elsewhere", "/nowhere", "/guarded-project/", "/guarded-project/ws")


def overlook(monkeypatch):
    """Have apps start that have such routes at these paths; all others are checked as ever."""
    listed = checking.list_routes

    def list_routes(app):
        return [
            route
            for route in listed(app)
            if route.path not in _PATHS and not route.path.startswith(_PATHS[:2])
        ]

    monkeypatch.setattr(checking, "list_routes", list_routes)
