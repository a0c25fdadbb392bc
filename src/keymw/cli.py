"""The command line. Each command is one call of `KeyService`, and says what came of it.

A token is never an argument: arguments are seen by everybody on the machine and kept by shells.
"""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

import keymw
from keymw import cli_output as out
from keymw.cli_input import parse_grace, parse_time, read_token, span
from keymw.http import UNAVAILABLE
from keymw.model import Granted
from keymw.service import KeyService
from keymw.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from keymw.model import IssuedKey, Propagation

_MAX_LINES = 100_000
#: Exit status of `verify` in an outage.
_UNKNOWN = 3


def _uses_keys(command: Callable[..., None]) -> Callable[..., None]:
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


_actor = click.option("--actor", metavar="A", help="Who does it, for the activity log.")
_wait = click.option("--wait", is_flag=True, help="Return when no process accepts it any more.")
_scopes = click.option(
    "--scope", "scopes", multiple=True, required=True, metavar="S", help="Repeat for several."
)
_expires_at = click.option(
    "--expires-at", type=parse_time, metavar="ISO", help="A time with its zone; never by default."
)


@click.group(cls=out.Program)
@click.option(
    "--database",
    envvar="KEYMW_DATABASE_URL",
    default="sqlite:///keymw.db",
    metavar="URL",
    help="sqlite:///file.db or postgresql://user@host/name. "
    "[$KEYMW_DATABASE_URL, else sqlite:///keymw.db]",
)
@click.option(
    "--redis",
    envvar="KEYMW_REDIS_URL",
    metavar="URL",
    help="redis://, rediss:// or unix:// URL of the Redis that the apps use. [$KEYMW_REDIS_URL]",
)
@click.version_option(keymw.__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, database: str, redis: str | None) -> None:
    """Issue, check and revoke API keys.

    A URL with a password belongs into the environment variable, which other users of the machine
    cannot see. Settings are read from KEYMW_<SETTING>. Write -- before an id that begins with a
    dash.
    """
    ctx.obj = (database, redis)


@cli.command()
@_uses_keys
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
@_scopes
@_expires_at
@_actor
@_uses_keys
def issue_project(keys: KeyService, *, as_json: bool, **given: Any) -> None:
    """Make a project secret key, which outlives whoever made it."""
    _hand_over(keys.issue_project_key(**given), as_json=as_json)


@issue.command("personal")
@click.argument("user_id")
@click.argument("label")
@_scopes
@click.option("--project", "projects", multiple=True, metavar="P", help="Limit the key to it.")
@click.option(
    "--organization", "organizations", multiple=True, metavar="O", help="Limit the key to it."
)
@_expires_at
@_actor
@_uses_keys
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
    _hand_over(issued, as_json=as_json)


@cli.command("list")
@click.option("--project", "project_id", metavar="P", help="Only keys of this project.")
@click.option("--user", "user_id", metavar="U", help="Only keys of this user.")
@click.option("--all", "include_revoked", is_flag=True, help="Revoked keys too.")
@_uses_keys
def list_keys(keys: KeyService, *, as_json: bool, **given: Any) -> None:
    """Show keys, oldest first."""
    if given["project_id"] is not None and given["user_id"] is not None:
        raise click.UsageError("Give --project or --user, not both: no key has both.")
    found = keys.list(**given)
    if as_json:
        out.document(found)
    else:
        out.print_keys(found, _now())


@cli.command()
@click.argument("key_id")
@_uses_keys
def show(keys: KeyService, key_id: str, *, as_json: bool) -> None:
    """Show one key, without its secret."""
    key = keys.get(key_id)
    if as_json:
        out.document(key)
    else:
        out.print_key(key, _now())


@cli.command()
@_uses_keys
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
@_actor
@_uses_keys
def roll(
    keys: KeyService, key_id: str, grace: timedelta, actor: str | None, *, as_json: bool
) -> None:
    """Give a key a new secret. Standard output is the new token, which is shown this once."""
    issued = keys.roll(key_id, grace=grace, actor=actor)
    _hand_over(issued, as_json=as_json)
    if issued.propagation is not None and not as_json:
        end = f"knows that the old secret ends in {span(grace)}"
        click.echo(
            _spread_line(issued.propagation, end if grace else "refuses the old secret"), err=True
        )


@cli.command()
@click.argument("key_id")
@_actor
@_wait
@_uses_keys
def revoke(keys: KeyService, key_id: str, *, as_json: bool, **given: Any) -> None:
    """End a key for good."""
    propagation = keys.revoke(key_id, **given)
    _say_spread({"key_id": key_id, "revoked": True}, propagation, "refuses it", as_json=as_json)


@cli.group()
def users() -> None:
    """End, or give back, the personal keys of a user."""


@users.command()
@click.argument("user_id")
@_actor
@_wait
@_uses_keys
def deactivate(keys: KeyService, user_id: str, *, as_json: bool, **given: Any) -> None:
    """End all personal keys of a user; project keys go on."""
    propagation = keys.deactivate_user(user_id, **given)
    what = "refuses the user's keys"
    _say_spread({"user_id": user_id, "active": False}, propagation, what, as_json=as_json)


@users.command()
@click.argument("user_id")
@_actor
@_uses_keys
def activate(keys: KeyService, user_id: str, actor: str | None, *, as_json: bool) -> None:
    """Give a user's personal keys back, as they were."""
    propagation = keys.activate_user(user_id, actor=actor)
    what = "takes the user's keys again"
    _say_spread({"user_id": user_id, "active": True}, propagation, what, as_json=as_json)


@cli.command()
@click.option("--key", "key_id", metavar="K", help="Only what happened to this key.")
@click.option("--project", "project_id", metavar="P", help="Only what happened in this project.")
@click.option("--user", "user_id", metavar="U", help="Only what happened to this user.")
@click.option(
    "--limit", type=click.IntRange(1, _MAX_LINES), default=100, show_default=True, help="Lines."
)
@_uses_keys
def history(keys: KeyService, *, as_json: bool, **given: Any) -> None:
    """Show the activity log, newest first."""
    events = keys.history(**given)
    if as_json:
        out.document(events)
    else:
        out.print_events(events)


def _hand_over(issued: IssuedKey, *, as_json: bool) -> None:
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
        out.print_key(issued.key, _now(), err=True)


def _say_spread(
    done: dict[str, object], propagation: Propagation, what: str, *, as_json: bool
) -> None:
    if as_json:
        out.document(done | {"propagation": out.spread(propagation)})
    else:
        click.echo(_spread_line(propagation, what))


def _spread_line(propagation: Propagation, what: str) -> str:
    _, redis = click.get_current_context().obj
    return out.spread_line(propagation, what, has_redis=bool(redis))


def _now() -> datetime:
    return datetime.now(UTC)
