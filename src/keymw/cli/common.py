"""What commands have in common: the service, their options, and how they say what came of it."""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from keymw.cli import output as out
from keymw.cli.input import parse_time
from keymw.service import KeyService
from keymw.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from keymw.model import IssuedKey, Propagation


def uses_keys(command: Callable[..., None]) -> Callable[..., None]:
    """Hand the service to a command, with `--json`; it is closed when the command ends."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
    @click.pass_context
    @functools.wraps(command)
    def run(ctx: click.Context, /, **arguments: Any) -> None:
        database, redis = ctx.obj
        settings = Settings.from_env(os.environ)
        keys = ctx.with_resource(KeyService(database, redis=redis or None, settings=settings))
        command(keys, **arguments)

    return run


actor = click.option("--actor", metavar="A", help="Who does it, for the activity log.")
wait = click.option("--wait", is_flag=True, help="Return when no process accepts it any more.")
scopes = click.option(
    "--scope", "scopes", multiple=True, required=True, metavar="S", help="Repeat for several."
)
expires_at = click.option(
    "--expires-at", type=parse_time, metavar="ISO", help="A time with its zone; never by default."
)


def hand_over(issued: IssuedKey, *, as_json: bool) -> None:
    """Print the token, first of all: it exists nowhere else."""
    shown: dict[str, object] = {"token": issued.token, "key": issued.key}
    if issued.propagation is not None:
        shown["propagation"] = out.spread(issued.propagation)
    try:
        if as_json:
            out.document(shown)
        else:
            click.echo(issued.token)
    except OSError as error:
        lost = f"The token of {issued.key.id} is lost, because it could not be written"
        raise OSError(error.errno, f"{lost} ({error.strerror}): roll the key") from error
    if not as_json:
        out.print_key(issued.key, now(), err=True)


def say_spread(
    done: dict[str, object], propagation: Propagation, what: str, *, as_json: bool
) -> None:
    """Say that a change was made, and by when every process does `what`."""
    if as_json:
        out.document(done | {"propagation": out.spread(propagation)})
    else:
        click.echo(spread_line(propagation, what))


def spread_line(propagation: Propagation, what: str) -> str:
    """Return by when every process does `what`."""
    _, redis = click.get_current_context().obj
    return out.spread_line(propagation, what, has_redis=bool(redis))


def now() -> datetime:
    """Return the time, to tell which keys have expired."""
    return datetime.now(UTC)
