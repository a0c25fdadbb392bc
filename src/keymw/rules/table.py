"""The rules that requests with one method may fit, matched in one step each way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from keymw.model import Denied, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keymw.rules.reading import Reading
    from keymw.rules.rule import Rule

AMBIGUOUS = Denied(Reason.AMBIGUOUS)


class Table:
    """Rules in their order. However many they are, a path is matched twice, in linear time."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._exact = _first_of(rule.template.exact for rule in self._rules)
        self._loose = _first_of(rule.template.loose for rule in self._rules)

    def find(self, reading: Reading) -> Rule | Denied | None:
        """Return the first rule that a request fits; or None; or that nobody can tell."""
        exact = self._exact.fullmatch(reading.path)
        loose = self._loose.fullmatch(reading.loose)
        if exact is None:
            return None if loose is None else AMBIGUOUS
        if loose is None or exact.lastindex != loose.lastindex:
            return AMBIGUOUS
        return self._rules[(exact.lastindex or 0) - 1]


def _first_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern whose `lastindex` says which of these is the first to match, from 1."""
    return re.compile("|".join(f"({pattern})" for pattern in patterns) or "(?!)")
