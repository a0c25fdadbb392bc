"""What the command line takes besides plain text: durations, times, and tokens."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta

import click

_GRACE = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SIZES = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def parse_grace(text: str) -> timedelta:
    """Return a number with its unit, `30s`, `90m`, `24h` or `7d`, as a duration."""
    match = _GRACE.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration such as 30s, 90m, 24h or 7d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_time(text: str) -> datetime:
    """Return an ISO 8601 time; whether it has its zone is for the service to check."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time such as 2030-01-31T12:00:00Z.") from None


def read_token(limit: int) -> str:
    """Return what standard input holds, read no further than a token could reach."""
    if sys.stdin is not None and sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True)).strip(" \t\r\n")
    raw = b"" if sys.stdin is None else sys.stdin.buffer.read(limit + 1)
    token = raw.decode(errors="replace").strip(" \t\r\n")
    if not token:
        raise ValueError("verify: standard input is empty; it is where the token is read from.")
    return token


def span(duration: timedelta) -> str:
    """Return a duration as `--grace` takes it."""
    seconds = int(duration.total_seconds())
    size, unit = next(each for each in _SIZES if seconds % each[0] == 0)
    return f"{seconds // size}{unit}"
