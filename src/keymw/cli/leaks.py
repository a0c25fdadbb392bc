"""The command for tokens that somebody has seen who should not have."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from keymw.cli import output as out
from keymw.cli.common import actor as actor_option
from keymw.cli.common import spread_line, uses_keys, wait
from keymw.cli.program import cli
from keymw.model import Outcome

if TYPE_CHECKING:
    from keymw.model import Leak
    from keymw.service import KeyService

#: Lines that are read at the most.
_MOST = 10_000


@cli.command()
@click.option("--source", metavar="WHERE", help="Where it was found, for the activity log.")
@actor_option
@wait
@uses_keys
def leaked(
    keys: KeyService, source: str | None, actor: str | None, *, wait: bool, as_json: bool
) -> None:
    """Revoke keys whose tokens have leaked. The tokens come from standard input, one a line.

    A token that does not work any more changes nothing. The exit status is 1 if one is unknown.
    """
    leaks = []
    tokens = _read_tokens(keys.settings.max_credentials_length)
    for number, token in enumerate(tokens, 1):
        leak = keys.report_leak(token, source=source, actor=actor)
        leaks.append(leak)
        if not as_json:
            click.echo(f"Line {number}: {_sentence(leak)}")
    revoked = [leak.key.id for leak in leaks if leak.key is not None and leak.propagation]
    if wait and revoked:
        # Once, after the last: no key is to live on while another one is waited for.
        waited = keys.revoke(revoked[-1], wait=True)
        leaks = [replace(leak, propagation=leak.propagation and waited) for leak in leaks]
        if not as_json:
            click.echo(spread_line(waited, "refuses them"))
    if as_json:
        out.document([_shown(leak) for leak in leaks])
    if any(leak.outcome is Outcome.UNKNOWN for leak in leaks):
        raise click.exceptions.Exit(1)


def _read_tokens(limit: int) -> list[str]:
    """Return the lines of standard input. None is a token's argument, so none is kept anywhere."""
    if sys.stdin is None:
        lines = []
    elif sys.stdin.isatty():
        lines = [str(click.prompt("Token", hide_input=True, err=True))]
    else:
        lines = (
            sys.stdin.buffer.read(_MOST * limit).decode("utf-8-sig", errors="replace").splitlines()
        )
    tokens = [line.strip(" \t") for line in lines if line.strip(" \t")]
    if not tokens:
        raise ValueError("leaked: standard input is empty; it is where tokens are read from.")
    if len(tokens) > _MOST:
        raise ValueError(f"leaked: give at most {_MOST} tokens at once.")
    return tokens


def _sentence(leak: Leak) -> str:
    if leak.key is None:
        return "no key has, or had, this token."
    if leak.propagation is None:
        return f"it does not work any more; nothing was changed about {leak.key.id}."
    return f"revoked {leak.key.id}. {spread_line(leak.propagation, 'refuses it')}"


def _shown(leak: Leak) -> dict[str, object]:
    return {
        "outcome": leak.outcome,
        "key": leak.key,
        "propagation": None if leak.propagation is None else out.spread(leak.propagation),
    }
