"""Holds a request to what its route demands, in every framework by the same few lines."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from keymw.access import KEY
from keymw.errors import MiddlewareMissing
from keymw.model import Granted
from keymw.policy import decide

if TYPE_CHECKING:
    from keymw.access import Access, Connection
    from keymw.integrations import Integration
    from keymw.model import Demand

log = logging.getLogger("keymw")

#: Where a view has what it demands.
DEMANDS = "__keymw_demands__"
#: What all requests to a class of views come through. A class below may have its own of these.
_ENTRANCES = ("dispatch", "dispatch_request", "__new__")


def demands_of(view: object) -> tuple[Demand, ...]:
    """Return what a view demands, by every `require_scopes` on it; all of it has to be met.

    Empty for a view that demands nothing. Of a class of views, that is what all of them demand.
    """
    if isinstance(view, type):
        found = (demands_of(getattr(view, name, None)) for name in _ENTRANCES)
        return tuple(demand for each in found for demand in each)
    demands: tuple[Demand, ...] = getattr(view, DEMANDS, ())
    return demands


def is_met(demand: Demand, scope: Connection) -> bool:
    """Say whether a scope's key plainly meets a demand: the short way of what most requests are.

    False is no refusal: whatever is not as plain is for `enforce` to judge.
    """
    access = scope.get(KEY)
    if access is None:
        return False
    verdict = access.verdict
    if verdict.__class__ is not Granted:
        return False
    principal = verdict.principal
    wanted = demand.project
    if principal.__class__ not in demand.takers or not demand.needed <= principal.granted:
        return False
    if wanted is None:
        return True
    project = scope.get("path_params", {}).get(wanted)
    # A personal key is of no project: that a path has none either is no match.
    return project is not None and project == principal.project_id


def enforce(demand: Demand, view: str, framework: Integration, request: Any) -> None:
    """Return if the request may go on.

    Args:
        demand: what the route asks.
        view: its name, for the log.
        framework: whose request it is.
        request: what `framework` knows the request by.

    Raises:
        AccessDenied: it may not; as an exception that its framework answers.
        MiddlewareMissing: no `KeyAuthMiddleware` has seen the request.
    """
    access: Access | None = framework.connection(request).get(KEY)
    if access is None:
        raise unseen(view)
    verdict = access.verdict
    if isinstance(verdict, Granted):
        wanted = demand.project
        project = None if wanted is None else framework.parameter(request, wanted)
        denied = decide(verdict.principal, demand, project)
        if denied is None:
            return
    else:
        denied = verdict
    raise framework.refuse(request, access, denied)


def unseen(view: str) -> MiddlewareMissing:
    """Return, and log, that no middleware has seen the request of a view."""
    error = MiddlewareMissing(view)
    log.error("%s", error)
    return error
