"""Commands about people: their access, and what they have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from keymw.cli import output as out
from keymw.cli.common import actor as actor_option
from keymw.cli.common import now, say_spread, uses_keys, wait
from keymw.cli.program import cli

if TYPE_CHECKING:
    from keymw.service import KeyService

_MAX_LINES = 100_000


@cli.group()
def users() -> None:
    """End, or give back, the personal keys of a user."""


@users.command()
@click.argument("user_id")
@actor_option
@wait
@uses_keys
def deactivate(keys: KeyService, user_id: str, *, as_json: bool, **given: Any) -> None:
    """End all personal keys of a user; project keys go on."""
    ended = keys.deactivate_user(user_id, **given)
    done = {"user_id": user_id, "active": False, "personal_keys": ended.personal_keys}
    left = {"project_keys": list(ended.project_keys)}
    say_spread(done | left, ended, "refuses the user's keys", as_json=as_json)
    if ended.project_keys and not as_json:
        click.echo("Project keys that the user has made go on. Roll those whose secret they know:")
        out.print_keys(ended.project_keys, now())


@users.command()
@click.argument("user_id")
@actor_option
@uses_keys
def activate(keys: KeyService, user_id: str, actor: str | None, *, as_json: bool) -> None:
    """Give a user's personal keys back, as they were."""
    propagation = keys.activate_user(user_id, actor=actor)
    what = "takes the user's keys again"
    say_spread({"user_id": user_id, "active": True}, propagation, what, as_json=as_json)


@cli.command()
@click.option("--key", "key_id", metavar="K", help="Only what happened to this key.")
@click.option("--project", "project_id", metavar="P", help="Only what happened in this project.")
@click.option("--user", "user_id", metavar="U", help="Only what happened to this user.")
@click.option("--actor", metavar="A", help="Only what this one has done.")
@click.option("--before", type=int, metavar="N", help="Only what came before the line numbered N.")
@click.option(
    "--limit", type=click.IntRange(1, _MAX_LINES), default=100, show_default=True, help="Lines."
)
@uses_keys
def history(keys: KeyService, *, as_json: bool, **given: Any) -> None:
    """Show the activity log, newest first."""
    events = keys.history(**given)
    if as_json:
        out.document(events)
    else:
        out.print_events(events)
