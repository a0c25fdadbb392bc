"""Brings the tables up to date: one process at a time, in one transaction, with no deadline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

_SCRIPTS = Path(__file__).with_name("migrations")
#: Names a lock that PostgreSQL gives to one migrating process at a time.
_ADVISORY_LOCK = 0x6B65796D77
#: Milliseconds that SQLite may wait for its lock: as good as for ever.
_NO_TIMEOUT = 2**31 - 1


def migrate(connection: Connection) -> None:
    """Bring the tables up to date; commits."""
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        _upgrade(connection)
        return
    timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_NO_TIMEOUT}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _upgrade(connection)
    except BaseException:
        # It is not fit for another word, and what went wrong must not be lost over that.
        connection.invalidate()
        raise
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {timeout}")


def _upgrade(connection: Connection, revision: str = "head") -> None:
    from alembic import command  # noqa: PLC0415 - only who migrates pays for it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    connection.commit()
