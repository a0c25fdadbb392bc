"""Rules: what requests demand of an app whose routes one cannot decorate.

Each rule says by method and path template what `require_scopes` says on a route. The first rule
that a request fits is its rule, so the more specific stands before the more general; any other
order is refused at start. A request that apps might read in more than one way has no rule: it is
refused (`ambiguous_request`), so that what is guarded here is what the app serves.
"""

from __future__ import annotations

from keymw.rules.loading import load
from keymw.rules.rule import Rule
from keymw.rules.ruleset import Rules

__all__ = ["Rule", "Rules", "load"]
