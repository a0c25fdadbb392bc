"""The root of the command line: where the database and Redis are."""

from __future__ import annotations

import click

import keymw
from keymw.cli import output as out


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
