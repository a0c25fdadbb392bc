"""Rules from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keymw.errors import InvalidInput
from keymw.rules.rule import Rule
from keymw.rules.ruleset import Rules

if TYPE_CHECKING:
    from os import PathLike

_TABLES = "default = and [[rule]]"
_FIELDS = ("methods", "path", "scopes", "kinds", "project", "open")


def load(path: str | PathLike[str]) -> Rules:
    """Return the rules of a TOML file: `default = "deny"` or `"open"`, and a `[[rule]]` for each.

    The fields of a `[[rule]]` are those of `Rule`.

    Raises:
        InvalidInput: it cannot be read, or a rule in it is wrong; the message names the file, the
            rule by its number and the field.
    """
    file = Path(path)
    document = _read(file)
    for name in document:
        if name not in ("default", "rule"):
            raise InvalidInput(str(file), f"{name!r} is not known here: write {_TABLES}.")
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidInput(f"{file}, rule", "write [[rule]], with two brackets, above each.")
    rules = [_rule(f"{file}, rule {number}", table) for number, table in enumerate(tables, 1)]
    try:
        return Rules(rules, document.get("default", ""))
    except InvalidInput as error:
        raise _within(f"{file}", error) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(str(file), f"it cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInput(str(file), "it is not UTF-8, which TOML files are.") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(str(file), f"it is not TOML: {error}.") from None


def _rule(place: str, table: dict[str, Any]) -> Rule:
    """Return the rule of one table."""
    for name in table:
        if name not in _FIELDS:
            raise InvalidInput(f"{place}, {name}", f"write one of {', '.join(_FIELDS)}.")
    for name in ("methods", "path"):
        if name not in table:
            raise InvalidInput(f"{place}, {name}", "it is missing: each rule has methods and path.")
    try:
        return Rule(**table)
    except InvalidInput as error:
        raise _within(place, error) from None


def _within(place: str, error: InvalidInput) -> InvalidInput:
    """Return an error that says where its field is, too."""
    message = str(error).removeprefix(f"{error.field}: ")
    return InvalidInput(f"{place}, {error.field}", message)
