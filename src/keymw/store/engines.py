"""How a function over a connection is run: inline, in a thread, or by an asynchronous driver.

Reads run in AUTOCOMMIT: one round trip instead of three. No operation takes longer than twice
`Settings.store_timeout` (see `deadline.py`, and `postgres.py` on the making of connections), except
for migrations, which take what they take.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import URL, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from keymw.errors import StoreUnavailable
from keymw.store.deadline import PATIENCE, left, within
from keymw.store.faults import translate
from keymw.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from keymw.settings import Settings

T = TypeVar("T")

#: The execution option in which an engine keeps how many seconds an operation may take.
_PATIENCE = "keymw_patience"


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


def _options(url: URL, settings: Settings) -> dict[str, Any]:
    timeout = settings.store_timeout
    options: dict[str, Any] = {
        "hide_parameters": True,  # they hold digests
        "isolation_level": "AUTOCOMMIT",
        "pool_timeout": timeout,
        "pool_size": settings.store_connections,
        "max_overflow": 0,
        "execution_options": {_PATIENCE: PATIENCE * timeout},
    }
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
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


def _make_async_engine(url: URL, settings: Settings) -> AsyncEngine:
    options = _options(url, settings)
    try:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        from keymw.store.postgres import AsyncPatientConnection  # noqa: PLC0415

        options["connect_args"]["async_creator_fn"] = AsyncPatientConnection.connect
        return create_async_engine(url.set(drivername="postgresql+psycopg_async"), **options)
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
        _migrate(self._engine)

    async def aclose(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class Threaded:
    """Runs in threads of its own: SQLite for asynchronous services, which has no other way."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._threads = threads
        self._executor = self._make_executor()

    def _make_executor(self) -> ThreadPoolExecutor:
        # It starts no thread before the first use.
        return ThreadPoolExecutor(self._threads, thread_name_prefix="keymw-store")

    async def _hop(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def _hop_in_time(self, function: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(_patience(self._engine)):
                return await self._hop(function)
        except TimeoutError:
            # What has not begun by now never does: its future is cancelled.
            raise StoreUnavailable("The database cannot answer: all threads are busy.") from None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""
        return await self._hop_in_time(partial(_read, self._engine, work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        return await self._hop_in_time(partial(_write, self._engine, work))

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        await self._hop(partial(_migrate, self._engine))

    async def aclose(self) -> None:
        """Close the connections and end the threads."""
        executor, self._executor = self._executor, self._make_executor()
        executor.shutdown(wait=False)
        self._engine.dispose()


class Native:
    """Runs on the event loop with psycopg's asynchronous driver: PostgreSQL."""

    def __init__(self, url: URL, settings: Settings) -> None:
        self._engine = _make_async_engine(url, settings)

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work, *args)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""
        with _operation(self._engine.sync_engine):
            try:
                return await self._run(work)
            except DBAPIError as error:
                if not _is_stale(error):
                    raise
            return await self._run(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        with _operation(self._engine.sync_engine):
            return await self._run(_transact, work)

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        with _translated():
            await self._run(migrate)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.dispose()


def _read(engine: Engine, work: Callable[[Connection], T]) -> T:
    with _operation(engine):
        try:
            with engine.connect() as connection:
                return work(connection)
        except DBAPIError as error:
            if not _is_stale(error):
                raise
        with engine.connect() as connection:
            return work(connection)


def _write(engine: Engine, work: Callable[[Connection], T]) -> T:
    with _operation(engine), engine.connect() as connection:
        return _transact(connection, work)


def _migrate(engine: Engine) -> None:
    with _translated(), engine.connect() as connection:
        migrate(connection)


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


def _patience(engine: Engine) -> float:
    seconds: float = engine.get_execution_options()[_PATIENCE]
    return seconds


@contextmanager
def _operation(engine: Engine) -> Iterator[None]:
    with within(_patience(engine)), _translated():
        yield


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise translate(error) from error


def _is_stale(error: DBAPIError) -> bool:
    """Say whether only this connection was lost, long ago perhaps, so that another may do."""
    return error.connection_invalidated and left() > 0
