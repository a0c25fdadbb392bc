"""How a function over a connection is run: inline, in a thread, or by an asynchronous driver.

No operation takes longer than twice `Settings.store_timeout` (see `deadline.py`, and `postgres.py`
on the making of connections), except for migrations and imports, which take what they take.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from keymw.errors import StoreUnavailable
from keymw.store.deadline import left, within
from keymw.store.engines import PATIENCE_OPTION, make_async_engine
from keymw.store.faults import translate
from keymw.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, Connection, Engine

    from keymw.settings import Settings

T = TypeVar("T")


class Runner(Protocol):
    """Runs functions over a connection. Raises `StoreUnavailable` and `NotMigrated`."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing; again, once, if its connection was a dead one."""
        ...

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction; again, once, if its connection was a dead one."""
        ...

    async def alone(self, work: Callable[[Connection], T]) -> T:
        """Run a function that makes its own transactions, however long it takes; once."""
        ...

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


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

    async def alone(self, work: Callable[[Connection], T]) -> T:
        """Run a function that makes its own transactions, however long it takes."""
        return _alone(self._engine, work)

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        await self.alone(migrate)

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
        job = self._executor.submit(function)
        future = asyncio.wrap_future(job)
        # A caller that is cancelled never looks at it, and asyncio would complain of that.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait({future}, timeout=_patience(self._engine))
        if not done and job.cancel():
            raise StoreUnavailable("The database cannot answer: all threads are busy.")
        # What has begun has its own deadline, and may be a change: its end is waited for.
        return await future

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""
        return await self._hop_in_time(partial(_read, self._engine, work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction."""
        return await self._hop_in_time(partial(_write, self._engine, work))

    async def alone(self, work: Callable[[Connection], T]) -> T:
        """Run a function that makes its own transactions, however long it takes."""
        return await self._hop(partial(_alone, self._engine, work))

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        await self.alone(migrate)

    async def aclose(self) -> None:
        """Close the connections and end the threads."""
        executor, self._executor = self._executor, self._make_executor()
        executor.shutdown(wait=False)
        self._engine.dispose()


class Native:
    """Runs on the event loop with psycopg's asynchronous driver: PostgreSQL."""

    def __init__(self, url: URL, settings: Settings) -> None:
        self._engine = make_async_engine(url, settings)

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
            try:
                return await self._run(_transact, work)
            except DBAPIError as error:
                if not _is_stale(error):
                    raise
            return await self._run(_transact, work)

    async def alone(self, work: Callable[[Connection], T]) -> T:
        """Run a function that makes its own transactions, however long it takes."""
        with _translated():
            return await self._run(work)

    async def migrate(self) -> None:
        """Bring the tables up to date."""
        await self.alone(migrate)

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
    with _operation(engine):
        try:
            with engine.connect() as connection:
                return _transact(connection, work)
        except DBAPIError as error:
            if not _is_stale(error):
                raise
        with engine.connect() as connection:
            return _transact(connection, work)


def _alone(engine: Engine, work: Callable[[Connection], T]) -> T:
    with _translated(), engine.connect() as connection:
        return work(connection)


def _transact(connection: Connection, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction; what it raises undoes it, as the connection is given back.

    So it may be run again, on another connection, unless it was the commit that failed.
    """
    if connection.dialect.name == "sqlite":
        # Take the write lock at once: one that is asked for after a read cannot be waited for.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection = connection.execution_options(isolation_level="READ COMMITTED")
    result = work(connection)
    try:
        connection.commit()
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable(
            f"{translate(error)} It is not known whether the change was made: repeat it."
        ) from error
    return result


def _patience(engine: Engine) -> float:
    seconds: float = engine.get_execution_options()[PATIENCE_OPTION]
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
