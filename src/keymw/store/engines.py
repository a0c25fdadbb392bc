"""Database URLs, and the engines that are made of them.

It alone knows how SQLite and PostgreSQL are to be set up. Engines are in AUTOCOMMIT: a read takes
one round trip instead of three.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from keymw.store.deadline import PATIENCE

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from keymw.settings import Settings

#: The execution option in which an engine keeps how many seconds an operation may take.
PATIENCE_OPTION = "keymw_patience"


def parse_url(database: str) -> URL:
    """Return a database URL in its plain form.

    Raises:
        ValueError: it is no URL of SQLite or PostgreSQL, or names a driver that keymw does not use.
    """
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        # The text is not repeated: it may hold a password.
        raise ValueError(
            "database: not a URL; write sqlite:///file.db or postgresql://user@host/name."
        ) from None
    plain = {"postgres": "postgresql", "postgresql+psycopg": "postgresql"}
    backend = plain.get(url.drivername, url.drivername)
    if backend not in ("sqlite", "postgresql"):
        raise ValueError(
            f"database: {url.drivername!r} is not supported; "
            "write sqlite:///file.db or postgresql://user@host/name, without a driver."
        )
    if backend == "sqlite" and (url.host or url.username or url.password or url.port):
        raise ValueError(
            "database: SQLite has no host: write sqlite:///file.db, with three slashes."
        )
    return url.set(drivername=backend)


def is_in_memory(url: URL) -> bool:
    """Say whether the database is one that no other process, and no other engine, can reach."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def check_driver(url: URL) -> None:
    """Find the driver of a database, without importing it.

    Raises:
        ModuleNotFoundError: it is not installed; the message names the extra.
    """
    if url.get_backend_name() == "postgresql" and find_spec("psycopg") is None:
        raise _driver_missing("no module named 'psycopg'")


def _options(url: URL, settings: Settings) -> dict[str, Any]:
    timeout = settings.store_timeout
    options: dict[str, Any] = {
        "hide_parameters": True,  # they hold digests
        "isolation_level": "AUTOCOMMIT",
        "pool_timeout": timeout,
        "pool_size": settings.store_connections,
        "max_overflow": 0,
        "execution_options": {PATIENCE_OPTION: PATIENCE * timeout},
    }
    if url.get_backend_name() == "sqlite":
        if is_in_memory(url):
            options["pool_size"] = 1
        connect: dict[str, Any] = {"timeout": timeout, "check_same_thread": False}
        return options | {"poolclass": QueuePool, "connect_args": connect}
    milliseconds = math.ceil(timeout * 1000)
    # UTC, because the driver cannot read the calendar's last day in a zone where it is over.
    ours = f"-c statement_timeout={milliseconds} -c timezone=UTC"
    connect = {
        "connect_timeout": math.ceil(timeout),
        "tcp_user_timeout": milliseconds,
        "application_name": "keymw",
    }
    # What the URL says goes first.
    connect |= {name: url.query[name] for name in connect if name in url.query}
    connect["options"] = f"{ours} {url.query.get('options', '')}".strip()
    return options | {"connect_args": connect}


def make_engine(url: URL, settings: Settings) -> Engine:
    """Return a blocking engine.

    Raises:
        ModuleNotFoundError: the driver is not installed; the message names the extra.
    """
    options = _options(url, settings)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    try:
        from keymw.store.postgres import PatientConnection  # noqa: PLC0415

        engine = create_engine(url.set(drivername="postgresql+psycopg"), **options)
    except ImportError as error:
        raise _driver_missing(error) from error
    event.listen(
        engine,
        "do_connect",
        lambda _dialect, _record, args, kwargs: PatientConnection.connect(*args, **kwargs),
    )
    return engine


def make_async_engine(url: URL, settings: Settings) -> AsyncEngine:
    """Return an asynchronous engine, for PostgreSQL.

    Raises:
        ModuleNotFoundError: the driver is not installed; the message names the extra.
    """
    options = _options(url, settings)
    try:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        from keymw.store.postgres import AsyncPatientConnection  # noqa: PLC0415

        options["connect_args"]["async_creator_fn"] = AsyncPatientConnection.connect
        return create_async_engine(url.set(drivername="postgresql+psycopg_async"), **options)
    except ImportError as error:
        raise _driver_missing(error) from error


def _driver_missing(error: object) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"PostgreSQL needs the driver that comes with keymw[postgres] ({error}): "
        'pip install "keymw[postgres]"'
    )


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Let readers go on while another process writes, and keep what was committed."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Not NORMAL, under which the last commits, a revoke perhaps, are lost with the power.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
