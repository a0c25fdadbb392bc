"""Whether every rule can be reached, and no request leads to one of two rules by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keymw.errors import InvalidInput
from keymw.rules.rule import ANY

if TYPE_CHECKING:
    from keymw.rules.rule import Rule

_UNREACHABLE = "takes all its requests, so that it can never be reached: remove one of them"
_ALIKE = (
    "has the same paths but for what apps may take for the same (letter case, a slash at the end): "
    "remove one of them"
)
_BEHIND = "is more general and stands before it: put the more specific one first"
_PARTLY = "has the same paths and some of its methods: name each method once"
_CROSSED = (
    "has some of its requests, and neither is the more specific: write one for what both have"
)


def check_order(rules: tuple[Rule, ...]) -> None:
    """Refuse rules of which the first that fits is not plainly the one that is meant.

    Raises:
        InvalidInput: a rule can never be reached, stands behind a more general one, or overlaps
            with one that is neither more general nor more specific; the message names both.
    """
    for number, rule in enumerate(rules, 1):
        left = rule.takes
        for place, earlier in enumerate(rules[: number - 1], 1):
            problem = _problem(earlier, rule)
            if problem is None and _covers(earlier, rule):
                left -= earlier.takes
                problem = None if left else _UNREACHABLE
            if problem is not None:
                raise InvalidInput(
                    "rules", f"rule {number} ({rule}): rule {place} ({earlier}) {problem}."
                )


def _covers(rule: Rule, other: Rule) -> bool:
    return rule.template.covers(other.template)


def _problem(earlier: Rule, rule: Rule) -> str | None:
    """Return what is wrong with two rules that stand in this order."""
    shares_methods = ANY in earlier.takes | rule.takes or earlier.takes & rule.takes
    if not shares_methods or not earlier.template.meets(rule.template):
        return None
    if not _covers(earlier, rule):
        return None if _covers(rule, earlier) else _CROSSED
    if ANY in earlier.takes or rule.takes <= earlier.takes:
        is_alike = earlier.template.exact != rule.template.exact and _covers(rule, earlier)
        return _ALIKE if is_alike else _UNREACHABLE
    if not _covers(rule, earlier):
        return _BEHIND
    return None if ANY in rule.takes or earlier.takes < rule.takes else _PARTLY
