"""What every route of an app demands, as far as its framework tells which routes there are.

`list_routes` lists them, for people and for CI; `check` finds demands that nobody can ever meet,
and the faces ask it when an app starts.
"""

from __future__ import annotations

from keymw.routes.checking import check
from keymw.routes.route import Route
from keymw.routes.walking import list_routes

__all__ = ["Route", "check", "list_routes"]
