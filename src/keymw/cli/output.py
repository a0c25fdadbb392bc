"""What the command line prints: results on standard output, everything else on standard error.

Every line of trouble is made here, by `one_line`, so that none holds what looks like a secret.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keymw.errors import KeymwError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed import DataclassInstance

    from keymw.model import Event, Key, Propagation

#: Columns with a line under their names, in ASCII so that every terminal and file can hold it.
_LINED = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
#: Wider than any table, where no terminal says how wide a line may be.
_ENDLESS = 1_000_000
#: What is as long as a token's random part, or longer as digests are.
_SECRET = re.compile(r"[0-9A-Za-z]{38,}")
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@]*@")


def one_line(text: str) -> str:
    """Return a message as one printable line after `keymw: `, without what looks secret."""
    line = " ".join(text.split()).removeprefix("keymw: ")
    line = _URL_PASSWORD.sub(r"\1***@", _SECRET.sub("***", line))
    return "keymw: " + "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line
    )


def complain(text: str) -> None:
    """Say on standard error what went wrong."""
    click.echo(one_line(text), err=True)


class Program(click.Group):
    """Ends every failure in one line on standard error and an exit status."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command line and end the process: 0 done, 1 failed or denied, 2 misused."""
        try:
            status = super().main(*args, **{**extra, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            status = error.exit_code
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "keymw"
            complain(f"{error.format_message()} Try: {command} --help")
            status = error.exit_code
        except click.Abort:
            complain("stopped.")
            status = 1
        except (KeymwError, ValueError, ModuleNotFoundError) as error:
            complain(str(error))
            status = 1
        except OSError as error:
            complain(f"{error.strerror}.")
            _forget_output()
            status = 1
        except Exception as error:  # noqa: BLE001 - a traceback could show a token or a password
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            complain(f"a defect in keymw: {type(error).__name__} at {place}.")
            status = 1
        sys.exit(status)


def _forget_output() -> None:
    """Let nothing be written again at exit that could not be written: that has been said."""
    with suppress(OSError):  # a stream that is no file has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(record.getMessage())


def set_up() -> None:
    """Make warnings single lines, and the standard streams such that no output is lost.

    For the whole process, so it is not done by importing this.
    """
    if sys.stdout is None:
        sys.exit("keymw: standard output is closed, so a token would be lost.")
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    warnings.showwarning = lambda message, *_, **__: complain(str(message))


def document(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(plain(value), indent=2))


def values(value: DataclassInstance) -> dict[str, object]:
    """Return the fields of a dataclass without what it hides from its `repr`."""
    return {each.name: getattr(value, each.name) for each in fields(value) if each.repr}


def plain(value: object) -> object:
    """Return a value as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = values(value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def spread(propagation: Propagation) -> dict[str, object]:
    """Return how far a change has gone, for a JSON document."""
    return {
        "acknowledged": propagation.acknowledged,
        "bound_seconds": propagation.bound.total_seconds(),
    }


def spread_line(propagation: Propagation, what: str, *, has_redis: bool) -> str:
    """Say how far a change has gone, and by when every process does `what`."""
    missed = "Redis could not be told" if has_redis else "Redis is not configured"
    told = "Acknowledged by Redis" if propagation.acknowledged else missed
    seconds = propagation.bound.total_seconds()
    when = f"within {seconds:g} s" if seconds else "from now on"
    return f"{told}: {when} every process {what}."


def print_keys(keys: Sequence[Key], now: datetime) -> None:
    """Print keys, one a row."""
    if not keys:
        click.echo("No keys.")
        return
    _print_table(
        ("id", "owner", "label", "secret", "scopes", "ends", "last used"),
        (
            (
                key.id,
                _owner(key),
                key.label,
                key.mask,
                _show(key.scopes),
                _end(key, now),
                _show(key.last_used_at, "never"),
            )
            for key in keys
        ),
    )


def print_key(key: Key, now: datetime, *, err: bool = False) -> None:
    """Print everything that is known of a key."""
    known = values(key)
    del known["expires_at"], known["revoked_at"]
    print_values(known | {"ends": _end(key, now)}, err=err)
    for secret in key.retired:
        if secret.valid_until > now:
            used = _show(secret.last_used_at, "never")
            click.echo(
                f"Its old secret {secret.mask} works until {_show(secret.valid_until)}; "
                f"last used: {used}.",
                err=err,
            )


def print_values(known: Mapping[str, object], *, err: bool = False) -> None:
    """Print names and values, one a row; what has no value is left out."""
    rows = (
        (name.replace("_", " "), _show(value)) for name, value in known.items() if value is not None
    )
    _print_table(("", ""), rows, err=err, header=False)


def print_events(events: Sequence[Event]) -> None:
    """Print lines of the activity log, one a row."""
    if not events:
        click.echo("Nothing has happened.")
        return
    _print_table(
        ("no.", "at", "action", "of", "by", "what changed"),
        (
            (
                str(event.seq),
                _show(event.at),
                event.action,
                event.key_id or f"user {event.user_id}",
                _show(event.actor),
                _changes(event),
            )
            for event in events
        ),
    )


def print_routes(rows: Iterable[Iterable[str]]) -> None:
    """Print what routes demand, one a row."""
    _print_table(("method", "path", "scopes", "kinds", "project"), rows)


def _print_table(
    columns: Iterable[str], rows: Iterable[Iterable[str]], *, err: bool = False, header: bool = True
) -> None:
    table = Table(box=_LINED, pad_edge=False, show_edge=False, show_header=header)
    for place, name in enumerate(columns):
        # What identifies a row stays in one piece, so that it can be copied.
        table.add_column(name, no_wrap=place == 0, overflow="fold")
    for row in rows:
        # As `Text`, because a label may look like rich's markup.
        table.add_row(*map(Text, row))
    stream = sys.stderr if err else sys.stdout
    terminal = stream.isatty()
    drawn = io.StringIO()
    # Told outright, because rich would also obey FORCE_COLOR and write colours into a file.
    console = Console(file=drawn, force_terminal=terminal, width=None if terminal else _ENDLESS)
    console.print(table)
    lines = (line.rstrip() for line in drawn.getvalue().splitlines())
    click.echo("\n".join(lines), err=err, color=terminal)


def _owner(key: Key) -> str:
    return f"project {key.project_id}" if key.user_id is None else f"user {key.user_id}"


def _end(key: Key, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {_show(key.revoked_at)}"
    if key.expires_at is not None and key.expires_at <= now:
        return f"expired {_show(key.expires_at)}"
    return _show(key.expires_at, "never")


def _changes(event: Event) -> str:
    said = [
        f"{name}: {_show(event.before[name])} -> {_show(new)}"
        if event.before.get(name) is not None
        else f"{name}: {_show(new)}"
        for name, new in event.after.items()
    ]
    if event.reason is not None:
        said.append(f"reason: {event.reason}")
    if event.old_secret_last_used_at is not None:
        said.append(f"old secret last used: {_show(event.old_secret_last_used_at)}")
    return "; ".join(said)


def _show(value: object, nothing: str = "-") -> str:
    """Return a value as people read it; times in UTC, to the second."""
    if value is None:
        return nothing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, (frozenset, list)):
        return ", ".join(sorted(value)) or "none"
    return str(value)
