"""How a function over a connection is run: inline, in a thread, or by an asynchronous driver.

It alone knows what differs between SQLite and PostgreSQL, and between the drivers' errors and
keymw's. Reads run in AUTOCOMMIT: one round trip instead of three.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import URL, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from keymw.errors import NotMigrated, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from keymw.settings import Settings

T = TypeVar("T")

_MIGRATIONS = Path(__file__).with_name("migrations")
#: Names a lock that PostgreSQL gives to one migrating process at a time.
_ADVISORY_LOCK = 0x6B65796D77
#: SQLSTATE of an unknown table and of an unknown column.
_NOT_MIGRATED = frozenset({"42P01", "42703"})


class Runner(Protocol):
    """Runs functions over a connection. Raises `StoreUnavailable` and `NotMigrated`."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing; again, once, if its connection was a dead one."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        ...

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def parse_url(database: str) -> URL:
    """Return a database URL in its plain form.

    Raises:
        ValueError: it is no URL of SQLite or PostgreSQL, or names a driver that keymw does not use.
    """
    try:
        url = make_url(database)
    except ArgumentError:
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
    return url.set(drivername=backend)


def _options(url: URL, settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "hide_parameters": True,  # they hold digests
        "isolation_level": "AUTOCOMMIT",
        "pool_timeout": settings.store_timeout,
    }
    if url.get_backend_name() == "sqlite":
        memory = url.database in (None, "", ":memory:")
        connect: dict[str, Any] = {"timeout": settings.store_timeout, "check_same_thread": False}
        size = 1 if memory else settings.store_connections
        return options | {
            "poolclass": QueuePool,
            "pool_size": size,
            "max_overflow": 0,
            "connect_args": connect,
        }
    milliseconds = math.ceil(settings.store_timeout * 1000)
    connect = {
        "connect_timeout": math.ceil(settings.store_timeout),
        "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
        "tcp_user_timeout": milliseconds,
        "application_name": "keymw",
    } | {name: value for name, value in url.query.items() if name != "host"}
    return options | {
        "pool_size": settings.store_connections,
        "max_overflow": 0,
        "connect_args": connect,
    }


def make_engine(url: URL, settings: Settings) -> Engine:
    """Return a blocking engine.

    Raises:
        ModuleNotFoundError: the driver is not installed; the message names the extra.
    """
    driver = "sqlite" if url.get_backend_name() == "sqlite" else "postgresql+psycopg"
    try:
        engine = create_engine(url.set(drivername=driver), **_options(url, settings))
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise _driver_missing(error) from error
    if driver == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _make_async_engine(url: URL, settings: Settings) -> AsyncEngine:
    try:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        plain = url.set(drivername="postgresql+psycopg_async")
        return create_async_engine(plain, **_options(url, settings))
    except ImportError as error:
        raise _driver_missing(error) from error


def _driver_missing(error: Exception) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"PostgreSQL needs the driver that comes with keymw[postgres] ({error}): "
        'pip install "keymw[postgres]"'
    )


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Let readers go on while another process writes, and keep what was committed."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


class Inline:
    """Runs in the calling thread: for blocking services."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""
        return _read(self._engine, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        return _write(self._engine, work)

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        _write(self._engine, _migrate)

    async def aclose(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class Threaded:
    """Runs in threads of its own: SQLite for asynchronous services, which has no other way."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None

    async def _hop(self, function: Callable[[], T]) -> T:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="keymw-store")
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""
        return await self._hop(partial(_read, self._engine, work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        return await self._hop(partial(_write, self._engine, work))

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        await self.write(_migrate)

    async def aclose(self) -> None:
        """Close the connections and end the threads."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)
        self._engine.dispose()


class Native:
    """Runs on the event loop with psycopg's asynchronous driver: PostgreSQL."""

    def __init__(self, url: URL, settings: Settings) -> None:
        self._engine = _make_async_engine(url, settings)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""
        for last in (False, True):
            try:
                async with self._engine.connect() as connection:
                    return await connection.run_sync(work)
            except (SQLAlchemyError, OSError) as error:
                if last or not _is_dead(error):
                    raise _translate(error) from error
        raise AssertionError  # pragma: no cover - the second round returns or raises

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        try:
            async with self._engine.connect() as connection:
                return await connection.run_sync(_transact, work)
        except (SQLAlchemyError, OSError) as error:
            raise _translate(error) from error

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        await self.write(_migrate)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.dispose()


def _read(engine: Engine, work: Callable[[Connection], T]) -> T:
    for last in (False, True):
        try:
            with engine.connect() as connection:
                return work(connection)
        except (SQLAlchemyError, OSError) as error:
            if last or not _is_dead(error):
                raise _translate(error) from error
    raise AssertionError  # pragma: no cover - the second round returns or raises


def _write(engine: Engine, work: Callable[[Connection], T]) -> T:
    try:
        with engine.connect() as connection:
            return _transact(connection, work)
    except (SQLAlchemyError, OSError) as error:
        raise _translate(error) from error


def _transact(connection: Connection, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction; what it raises undoes it, as the connection is given back."""
    if connection.dialect.name == "sqlite":
        # Take the write lock at once: one that is asked for after a read cannot be waited for.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection = connection.execution_options(isolation_level="READ COMMITTED")
    result = work(connection)
    connection.commit()
    return result


def _migrate(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - only who migrates pays for it
    from alembic.config import Config  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _is_dead(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _translate(error: Exception) -> StoreUnavailable:
    """Return keymw's word for a driver's error; nobody but this function looks into one."""
    original = getattr(error, "orig", None)
    missing_table = str(original).startswith(("no such table: keymw", "no such column"))
    if missing_table or getattr(original, "sqlstate", None) in _NOT_MIGRATED:
        return NotMigrated()
    cause = str(original or error).strip().splitlines()
    return StoreUnavailable(f"The database cannot answer: {cause[0] if cause else type(error)}")
