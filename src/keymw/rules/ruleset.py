"""All rules of an app, and what becomes of a request that none of them is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from keymw.errors import InvalidInput
from keymw.model import Denied, Granted, Reason
from keymw.policy import decide
from keymw.rules.order import check_order
from keymw.rules.reading import read
from keymw.rules.rule import ANY, Rule
from keymw.rules.table import AMBIGUOUS, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keymw.access import Connection
    from keymw.model import Verdict
    from keymw.rules.reading import Reading

_NO_RULE = Denied(Reason.NO_RULE)


class Rules:
    """Rules, and what becomes of a request that none of them is for.

    Args:
        rules: the more specific before the more general.
        default: `"deny"` refuses what no rule is for, with whatever key; `"open"` lets it through.

    Raises:
        InvalidInput: a rule can never be reached or overlaps with another one, or no default has
            been chosen.
        TypeError: one is no `Rule`.
    """

    def __init__(self, rules: Iterable[Rule], default: Literal["deny", "open", ""] = "") -> None:
        if default not in ("deny", "open"):
            raise InvalidInput(
                "default",
                'choose what becomes of a request that no rule is for: "deny" refuses it, "open" '
                "lets it through.",
            )
        self.rules = tuple(rules)
        self.default = default
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise TypeError(f"rules: give Rule(…), not {type(rule).__name__}.")
        check_order(self.rules)
        self._unmatched = _NO_RULE if default == "deny" else None
        self._others = Table(rule for rule in self.rules if ANY in rule.takes)
        #: Rules by method; a method that none of them names has those for any.
        self._tables = {name: self._table_of(name) for name in self._methods()}
        #: Rules that a CORS preflight itself is held to, because they name its method.
        self._preflight = Table(rule for rule in self.rules if "OPTIONS" in rule.takes)

    def __repr__(self) -> str:
        return f"<Rules: {len(self.rules)}, else {self.default}>"

    def _methods(self) -> set[str]:
        named = set[str]().union(*(rule.takes for rule in self.rules))
        return named | ({"HEAD"} if "GET" in named else set())

    def _table_of(self, method: str) -> Table:
        method = "GET" if method == "HEAD" else method
        return Table(rule for rule in self.rules if {ANY, method} & rule.takes)

    def judge(self, verdict: Verdict, connection: Connection) -> Denied | None:
        """Return why a request is refused, or None if it may go on to the app.

        Args:
            verdict: on its key; a `Denied` counts where a rule demands something.
            connection: its ASGI scope or WSGI environ, as the app would be given it.
        """
        reading = read(connection)
        if reading is None:
            return AMBIGUOUS
        rule = self._find(reading)
        if rule is None or isinstance(rule, Denied):
            return rule
        if rule.demand is None:
            return None
        if not isinstance(verdict, Granted):
            return verdict
        return decide(verdict.principal, rule.demand, rule.project_of(reading.path))

    def _find(self, reading: Reading) -> Rule | Denied | None:
        """Return the rule of a request; or its refusal; or None, if it needs no rule."""
        if reading.announced is not None:
            found = self._preflight.find(reading)
            if found is None:
                found = self._tables.get(reading.announced, self._others).find(reading)
                # Browsers send no key with a preflight: the demand waits for what it announces.
                found = None if isinstance(found, Rule) else found or self._unmatched
            return found
        return self._tables.get(reading.method, self._others).find(reading) or self._unmatched
