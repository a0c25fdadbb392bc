"""One rule: which requests, and what they demand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from keymw.errors import InvalidInput
from keymw.policy import make_demand
from keymw.principals import KeyKind
from keymw.rules.templates import Template, parse

if TYPE_CHECKING:
    from keymw.model import Demand

#: In place of methods: all of them, and WebSockets.
ANY = "*"
_METHOD = re.compile(r"\*|[A-Z]+(?:[-_][A-Z]+)*", re.ASCII)
_PERSONAL = (KeyKind.PERSONAL,)


@dataclass(frozen=True, slots=True)
class Rule:
    """What the requests with some methods and some paths demand.

    Args:
        methods: one or more; `"GET"` holds for HEAD too, `"WEBSOCKET"` is the opening of one,
            `"*"` is every method and every WebSocket.
        path: a template of the decoded path below the app's root, as the app itself routes on it.
            A parameter is a whole segment, `{name}` or `{name:int}`, or all that is left,
            `{name:path}`.
        scopes: as in `require_scopes`; none of them: any valid key of the kinds.
        kinds: kinds of key that are taken, as in `require_scopes`.
        project: name of the path parameter that must be the key's project.
        open: the requests demand nothing at all.

    Raises:
        InvalidInput: a method, the template, a scope, a kind or the project parameter is not one;
            or an open rule demands something.
    """

    methods: str | Iterable[str]
    path: str
    scopes: Iterable[str] = ()
    kinds: Iterable[KeyKind | str] = _PERSONAL
    project: str | None = None
    _: KW_ONLY
    open: bool = False
    #: What it demands; None if it is open.
    demand: Demand | None = field(init=False, repr=False, compare=False)
    template: Template = field(init=False, repr=False, compare=False)
    #: Which segment of the path, from 1, is the project; 0 if none is asked.
    position: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check everything, and work out what does not depend on a request."""
        _set(self, "methods", _check_methods(self.methods))
        _set(self, "template", parse(self.path))
        _set(self, "demand", None if _is_open(self) else _demand(self))
        _set(self, "position", _position(self))

    def __str__(self) -> str:
        return f"{' '.join(self.methods)} {self.path}"

    @property
    def takes(self) -> frozenset[str]:
        """The methods as a set."""
        return frozenset(self.methods)

    def project_of(self, path: str) -> str | None:
        """Return the project that a path of this rule names, as it stands there."""
        return path.split("/", self.position + 1)[self.position] if self.position else None


def _set(rule: Rule, name: str, value: object) -> None:
    object.__setattr__(rule, name, value)


def _check_methods(methods: object) -> tuple[str, ...]:
    names = (methods,) if isinstance(methods, str) else methods
    found = tuple(names) if isinstance(names, Iterable) else ()
    if not found:
        raise InvalidInput("methods", 'name at least one: "GET", ["GET", "POST"] or "*".')
    for name in found:
        if not isinstance(name, str) or not _METHOD.fullmatch(name):
            raise InvalidInput("methods", f"{name!r} is no method: write it in capitals, or '*'.")
    if "HEAD" in found:
        raise InvalidInput("methods", "HEAD follows GET: name GET.")
    if len(set(found)) < len(found) or (ANY in found and len(found) > 1):
        raise InvalidInput("methods", f"{', '.join(found)}: one of them is there already.")
    return found


def _is_open(rule: Rule) -> bool:
    if not isinstance(rule.open, bool):
        raise InvalidInput("open", "give true or false.")
    demands = rule.scopes not in ((), []) or rule.kinds != _PERSONAL or rule.project is not None
    if rule.open and demands:
        raise InvalidInput("open", "an open rule demands nothing: no scopes, kinds or project.")
    return rule.open


def _demand(rule: Rule) -> Demand:
    scopes = rule.scopes
    # A single string is refused there, where here it would be taken for a list of letters.
    is_list = isinstance(scopes, Iterable) and not isinstance(scopes, str)
    demand = make_demand(tuple(scopes) if is_list else scopes, rule.kinds, rule.project)  # type: ignore[arg-type]
    _set(rule, "scopes", demand.scopes)
    _set(rule, "kinds", tuple(sorted(demand.kinds)))
    return demand


def _position(rule: Rule) -> int:
    if rule.project is None:
        return 0
    position = rule.template.position(rule.project)
    if position is None:
        raise InvalidInput(
            "project",
            f"{rule.path!r} has no segment {{{rule.project}}}: name the one with the project.",
        )
    return position
