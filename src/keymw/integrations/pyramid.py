"""Pyramid: `scopes=` in view configuration, and refusals that are its `HTTPException`s.

An app's exception views for them (`exception_view_config`, `forbidden_view_config`) may restyle a
refusal; the default is to answer what the exception is.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, cast

from keymw.enforcing import DEMANDS, demands_of, enforce, unseen
from keymw.errors import AccessDenied
from keymw.integrations.extra import extra
from keymw.policy import make_demand
from keymw.principals import KeyKind

with extra("pyramid", "pyramid"):
    from pyramid.exceptions import ConfigurationError
    from pyramid.httpexceptions import HTTPException, HTTPForbidden, HTTPUnauthorized
    from pyramid.interfaces import IRoutesMapper
    from pyramid.request import Request
    from pyramid.threadlocal import get_current_request
    from pyramid.urldispatch import old_route_re, route_re, star_at_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from keymw.access import Access, Connection
    from keymw.http import Answer
    from keymw.integrations import Integration
    from keymw.model import Demand, Denied

    View = Callable[[Any, Any], Any]


class Refusal(HTTPException, AccessDenied):
    """A refusal with `code`, `title` and `detail`, as Pyramid's exceptions are, and a response."""

    answer: Answer

    def __init__(self, answer: Answer) -> None:
        """Be keymw's answer, to be changed by whoever handles the exception."""
        super().__init__(answer.detail)
        self.answer = answer
        self.body = answer.body
        self.headerlist = list(answer.headers)


class UnauthorizedRefusal(Refusal, HTTPUnauthorized):
    """A refusal with status 401."""


class ForbiddenRefusal(Refusal, HTTPForbidden):
    """A refusal with status 403."""

    def __init__(self, answer: Answer) -> None:
        """Be keymw's answer; no permission of Pyramid's is behind it."""
        super().__init__(answer)
        self.result = None


_KINDS: dict[int, type[Refusal]] = {401: UnauthorizedRefusal, 403: ForbiddenRefusal}
_PYRAMID = cast("Integration", sys.modules[__name__])


def includeme(config: Any) -> None:
    """Let view configuration say what views demand.

    For `config.include("keymw.integrations.pyramid")`.

    `scopes`, `kinds` and `project` of `add_view`, `@view_config` and `@view_defaults` are the
    arguments of `require_scopes`; `scopes` is one scope or a list of them, and without it there is
    no demand. It is asked after the view's permission and before everything else of the view.
    """
    config.add_view_deriver(_demanding, name="keymw", under="secured_view", over="csrf_view")


def _demanding(view: View, info: Any) -> View:
    """Return the view, guarded if its configuration demands something."""
    options = info.options
    scopes = options.get("scopes")
    if scopes is None:
        for name in ("kinds", "project"):
            if options.get(name) is not None:
                raise ConfigurationError(f"{name} demands nothing of a view without scopes.")
        return view
    listed = (scopes,) if isinstance(scopes, str) else tuple(scopes)
    kinds = options.get("kinds")
    taken = (KeyKind.PERSONAL,) if kinds is None else kinds
    demand = make_demand(listed, taken, options.get("project"))
    _check_project(info, demand.project)
    name = getattr(view, "__text__", None) or repr(info.original_view)

    def guarded(context: Any, request: Any) -> Any:
        enforce(demand, name, _PYRAMID, request)
        return view(context, request)

    setattr(guarded, DEMANDS, (*demands_of(info.original_view), demand))
    return guarded


def _check_project(info: Any, project: str | None) -> None:
    """Refuse a configuration whose route has no such parameter, if that can be known already."""
    mapper = info.registry.queryUtility(IRoutesMapper)
    route = mapper and mapper.get_route(info.options.get("route_name"))
    # Predicates of a route may add parameters, and so may what is matched without one.
    if project is None or not route or route.predicates:
        return
    pattern = route.pattern
    found = [name[1:-1].partition(":")[0] for name in route_re.findall(pattern)]
    found = found or [name[1:] for name in old_route_re.findall(pattern)]
    if project not in (*found, *star_at_end.findall(pattern)):
        raise ConfigurationError(f"{pattern} has no parameter {project} that could be the project.")


_demanding.options = ("scopes", "kinds", "project")  # type: ignore[attr-defined]


def called(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request | None:
    """Return the request that a view is called with, or that its object has been made for."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Request):
            return value
    made_for = getattr(args[0], "request", None) if args else None
    return made_for if isinstance(made_for, Request) else None


def serving() -> Any | None:
    """Return the request that Pyramid serves in this thread."""
    return get_current_request()


def of(connection: Connection) -> None:
    """Return nothing: Pyramid leaves no trace of itself in an environ."""


def connection(request: Any) -> Connection:
    """Return the environ."""
    found: Connection = request.environ
    return found


def parameter(request: Any, name: str) -> object:
    """Return what the route has found in the path; by traversal alone there is nothing."""
    return (request.matchdict or {}).get(name)


def refuse(request: Any, access: Access, denied: Denied) -> Refusal:  # noqa: ARG001
    """Return the exception that Pyramid itself would raise, or that an app would."""
    answer = access.answer(denied)
    return _KINDS[answer.status].of(denied, answer)


def is_view(view: type) -> bool:
    """Say whether a class is one whose objects Pyramid makes for a request, to call them."""
    try:
        names = list(inspect.signature(view.__init__).parameters)[1:]  # type: ignore[misc]
    except (TypeError, ValueError):
        return False
    return names in (["request"], ["context", "request"])


def guard(view: Any, demand: Demand) -> Any:
    """Return a class of views whose objects are only made for a request that meets a demand.

    Also those of classes below it, whatever their `__init__` does.
    """
    make = view.__new__

    def __new__(cls: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        request = called(args, kwargs) or serving()
        if request is None:
            raise unseen(cls.__qualname__)
        enforce(demand, cls.__qualname__, _PYRAMID, request)
        return make(cls) if make is object.__new__ else make(cls, *args, **kwargs)

    setattr(__new__, DEMANDS, (*demands_of(view), demand))
    view.__new__ = staticmethod(__new__)
    return view
