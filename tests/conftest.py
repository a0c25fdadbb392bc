from __future__ import annotations

import itertools
import shutil
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from either import Either
from keymw import AsyncKeyService, KeyService
from servers import postgres_server, redis_server
from tables import drawn

#: What these check on behalf of tests, pytest explains as it does in tests.
pytest.register_assert_rewrite("cli", "decorators", "faces", "frameworks.checks")

_numbers = itertools.count()


def pytest_terminal_summary(terminalreporter):
    """Print what tests have found out that a person may want to read."""
    tables = drawn()
    if tables:
        terminalreporter.write_line("")
        terminalreporter.write(tables)


@pytest.fixture(scope="session")
def postgres_cluster():
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def redis_instance():
    with redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_instance):
    """A Redis with nothing in it."""
    import redis

    with redis.Redis.from_url(redis_instance) as client:
        client.flushall()
    return redis_instance


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path}/keymw.db"


@pytest.fixture
def postgres_url(postgres_cluster):
    """A new, empty PostgreSQL database."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_cluster, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_cluster.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """Each database in turn, not migrated."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    """A migrated SQLite file to be copied, for migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "keymw.db"
    with KeyService(f"sqlite:///{path}") as service:
        service.migrate()
    return path


@pytest.fixture
def migrated_url(sqlite_url, sqlite_template):
    """The database at `sqlite_url`, migrated."""
    shutil.copyfile(sqlite_template, sqlite_url.removeprefix("sqlite:///"))
    return sqlite_url


@pytest.fixture
def keys(migrated_url):
    """A blocking service on a migrated SQLite database, without Redis."""
    with KeyService(migrated_url) as service:
        yield service


@pytest.fixture
async def akeys(migrated_url):
    """An asynchronous service on a migrated SQLite database, without Redis."""
    async with AsyncKeyService(migrated_url) as service:
        yield service


class ManualClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.start = datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock():
    return ManualClock()


def unmeasured(environ):
    """Return an environment for a process that is to be ended by a signal.

    Coverage's tracer, told of greenlets, clears whatever its look for the current one raises: also
    the exception of a handler, if the signal comes in just then. So it stays out.
    """
    return {name: value for name, value in environ.items() if not name.startswith("COVERAGE_")}


def eventually(check, patience=10.0):
    """Wait until `check()` is true; fails when it has not become so."""
    deadline = time.monotonic() + patience
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(params=[KeyService, AsyncKeyService], ids=["blocking", "async"])
async def services(request):
    """Makes services of one face, then of the other; closes them."""
    made = []

    def make(database, *, clock=None, **options):
        service = Either(request.param(database, **options))
        if clock is not None:
            service.service._clock = clock
        made.append(service)
        return service

    yield make
    for service in made:
        await service.close()
