"""What every route of an app demands, as far as its framework tells which routes there are.

`list_routes` lists them, for people and for CI; `check` finds demands that cannot be met, and
the faces ask it when an app starts.
"""

from __future__ import annotations

from keymw.routes.checking import check, check_made
from keymw.routes.route import Route
from keymw.routes.walking import list_routes

__all__ = ["Route", "check", "check_made", "list_routes"]
