"""Commands on single keys, each one call of `KeyService`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from keymw.cli import output as out
from keymw.cli.common import actor as actor_option
from keymw.cli.common import (
    expires_at,
    hand_over,
    now,
    say_spread,
    scopes,
    spread_line,
    uses_keys,
    wait,
)
from keymw.cli.input import parse_grace, parse_time, read_token, span
from keymw.cli.program import cli
from keymw.http import UNAVAILABLE
from keymw.model import Granted

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from keymw.service import KeyService

#: Exit status of `verify` in an outage.
_UNKNOWN = 3


@cli.command()
@uses_keys
def migrate(keys: KeyService, *, as_json: bool) -> None:
    """Make or upgrade the tables. Safe to run again."""
    keys.migrate()
    if as_json:
        out.document({"migrated": True})
    else:
        click.echo("The tables are up to date.")


@cli.group()
def issue() -> None:
    """Make a key. Standard output is its token, which is shown this once."""


@issue.command("project")
@click.argument("project_id")
@click.argument("label")
@scopes
@expires_at
@actor_option
@uses_keys
def issue_project(keys: KeyService, *, as_json: bool, **given: Any) -> None:
    """Make a project secret key, which outlives whoever made it."""
    hand_over(keys.issue_project_key(**given), as_json=as_json)


@issue.command("personal")
@click.argument("user_id")
@click.argument("label")
@scopes
@click.option("--project", "projects", multiple=True, metavar="P", help="Limit the key to it.")
@click.option(
    "--organization", "organizations", multiple=True, metavar="O", help="Limit the key to it."
)
@expires_at
@actor_option
@uses_keys
def issue_personal(
    keys: KeyService,
    *,
    projects: tuple[str, ...],
    organizations: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Make a personal key, which ends with its user's access."""
    issued = keys.issue_personal_key(
        projects=projects or None, organizations=organizations or None, **given
    )
    hand_over(issued, as_json=as_json)


@cli.command("list")
@click.option("--project", "project_id", metavar="P", help="Only keys of this project.")
@click.option("--user", "user_id", metavar="U", help="Only keys of this user.")
@click.option("--all", "include_revoked", is_flag=True, help="Revoked keys too.")
@uses_keys
def list_keys(keys: KeyService, *, as_json: bool, **given: Any) -> None:
    """Show keys, oldest first."""
    if given["project_id"] is not None and given["user_id"] is not None:
        raise click.UsageError("Give --project or --user, not both: no key has both.")
    found = keys.list(**given)
    if as_json:
        out.document(found)
    else:
        out.print_keys(found, now())


@cli.command()
@click.argument("key_id")
@uses_keys
def show(keys: KeyService, key_id: str, *, as_json: bool) -> None:
    """Show one key, without its secret."""
    key = keys.get(key_id)
    if as_json:
        out.document(out.values(key) | {"retired": key.retired})
    else:
        out.print_key(key, now())


@cli.command()
@uses_keys
def verify(keys: KeyService, *, as_json: bool) -> None:
    """Check a token from standard input, or from a hidden prompt.

    The exit status is 0 if it is good, 1 if not, and 3 if that cannot be told at the moment: then
    nothing is wrong with the token.
    """
    verdict = keys.verify(read_token(keys.settings.max_credentials_length))
    granted = isinstance(verdict, Granted)
    shown: dict[str, object] = {"granted": granted}
    if isinstance(verdict, Granted):
        shown |= {"kind": verdict.principal.kind} | out.values(verdict.principal)
    else:
        shown |= {"reason": verdict.reason, "detail": verdict.detail}
    if as_json:
        out.document(shown)
    else:
        out.print_values(shown)
    if not granted:
        raise click.exceptions.Exit(_UNKNOWN if verdict == UNAVAILABLE else 1)


@cli.command()
@click.argument("key_id")
@click.option(
    "--grace",
    type=parse_grace,
    default="0s",
    metavar="TIME",
    help="How long the old secret still works: 30s, 90m, 24h, 7d. Not at all by default.",
)
@actor_option
@uses_keys
def roll(
    keys: KeyService, key_id: str, grace: timedelta, actor: str | None, *, as_json: bool
) -> None:
    """Give a key a new secret. Standard output is the new token, which is shown this once."""
    issued = keys.roll(key_id, grace=grace, actor=actor)
    hand_over(issued, as_json=as_json)
    if issued.propagation is not None and not as_json:
        end = f"knows that the old secret ends in {span(grace)}"
        click.echo(
            spread_line(issued.propagation, end if grace else "refuses the old secret"), err=True
        )


@cli.command()
@click.argument("key_id")
@click.option("--label", metavar="L", help="A new label.")
@click.option("--scope", "scopes", multiple=True, metavar="S", help="In place of all it has.")
@click.option("--expires-at", type=parse_time, metavar="ISO", help="A time with its zone.")
@click.option("--never-expires", is_flag=True, help="Let it live until it is revoked.")
@click.option("--version", type=int, metavar="N", help="Only if nobody has changed it since.")
@actor_option
@uses_keys
def update(
    keys: KeyService,
    key_id: str,
    *,
    scopes: tuple[str, ...],
    expires_at: datetime | None,
    never_expires: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Change a key; what is not given stays."""
    if never_expires and expires_at is not None:
        raise click.UsageError("Give --expires-at or --never-expires, not both.")
    end = ... if expires_at is None and not never_expires else expires_at
    key = keys.update(key_id, scopes=scopes or None, expires_at=end, **given)
    if key.propagation is not None and as_json:
        out.document({"key": key, "propagation": out.spread(key.propagation)})
    elif key.propagation is not None:
        out.print_key(key, now())
        click.echo(spread_line(key.propagation, "knows the change"), err=True)


@cli.command()
@click.argument("key_id")
@click.option("--reason", metavar="TEXT", help="Why, for the activity log.")
@actor_option
@wait
@uses_keys
def revoke(keys: KeyService, key_id: str, *, as_json: bool, **given: Any) -> None:
    """End a key for good."""
    propagation = keys.revoke(key_id, **given)
    say_spread({"key_id": key_id, "revoked": True}, propagation, "refuses it", as_json=as_json)
