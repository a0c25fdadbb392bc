"""A PostgreSQL that hangs, falls silent or starts anew: callers wait so long, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time

import psycopg
import pytest

from conftest import eventually
from keymw import Settings
from keymw.errors import StoreUnavailable
from proxies import silent_proxy
from servers import _postgres_account, _postgres_program, postgres_server
from stores import new_digest, open_store, project_key, roll

TIMEOUT = 0.4
#: What a busy machine may take longer than it should; psycopg looks up every tenth of a second.
SLACK = 1.0

#: How many of keymw's connections are in the middle of something.
UNSETTLED = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE application_name = 'keymw' AND datname = current_database() AND state <> 'idle'"
)

pytestmark = pytest.mark.parametrize("name", ["inline-postgresql", "native-postgresql"])


@contextlib.contextmanager
def at_most(seconds):
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds + SLACK


@contextlib.asynccontextmanager
async def store_behind_proxy(name, url, **settings):
    with silent_proxy(url) as (proxy, through):
        async with open_store(name, url):
            pass  # migrated, with nothing in between
        settings = Settings(**{"store_timeout": TIMEOUT} | settings)
        async with open_store(name, through, settings, migrated=False) as store:
            yield store, proxy


async def test_a_silent_database_holds_nobody(name, postgres_url):
    async with store_behind_proxy(name, postgres_url) as (store, proxy):
        first, second = new_digest(), new_digest()
        await store.insert(project_key("a", "a"), first, "created", None)
        await store.insert(project_key("b", "b"), second, "created", None)
        proxy.silence()
        with at_most(2 * TIMEOUT), pytest.raises(StoreUnavailable):
            await store.find(first)
        proxy.speak()
        # The late answer about the first one is nobody's.
        assert (await store.find(second)).key_id == "b"
        assert (await store.find(first)).key_id == "a"


async def test_a_connection_that_was_given_up_is_closed(name, postgres_url):
    async with store_behind_proxy(name, postgres_url) as (store, proxy):
        used = []

        def ask(connection):
            used.append(connection.connection.driver_connection)
            proxy.silence()
            connection.exec_driver_sql("SELECT 1")

        await store.position()
        with pytest.raises(StoreUnavailable, match="it has not answered in time"):
            await store._run.read(ask)
        assert [connection.closed for connection in used] == [True]  # and nobody asked twice
        proxy.speak()
        assert await store.position() == 0
        assert proxy.accepted == 2


@pytest.mark.parametrize("step", ["begin", "update", "commit", "afterwards"])
async def test_a_database_that_falls_silent_in_a_write(name, postgres_url, step):
    async with store_behind_proxy(name, postgres_url) as (store, proxy):
        await store.insert(project_key("a"), new_digest(), "created", None)
        before = proxy.sent
        await store.change("a", roll(new_digest()))
        last = proxy.sent - before
        after = {"begin": 1, "update": last // 2, "commit": last, "afterwards": last + 1}
        proxy.silence(after[step])
        refused = False
        with at_most(2 * TIMEOUT):
            try:
                await store.change("a", roll(new_digest()))
            except StoreUnavailable:
                refused = True
        assert refused == (step != "afterwards")
        proxy.speak()
        with psycopg.connect(postgres_url, autocommit=True) as other:
            # What was held back arrives now, and the server sees that nobody is there any more.
            eventually(lambda: other.execute(UNSETTLED).fetchone() == (0,))
        # All of it or nothing, and what comes next is as good as ever.
        version = (await store.get("a")).version
        assert version == 2 if step in ("begin", "update") else version in (2, 3)
        events = await store.history(key_id="a", project_id=None, user_id=None, limit=9)
        assert [event.version for event in events] == list(range(version, 0, -1))
        assert (await store.change("a", roll(new_digest()))).key.version == version + 1


async def test_a_database_that_lets_nobody_in(name, postgres_url):
    async with store_behind_proxy(name, postgres_url) as (store, proxy):
        proxy.silence()
        with at_most(2), pytest.raises(StoreUnavailable, match="connection timeout expired"):
            await store.position()
        proxy.speak()
        assert await store.position() == 0


async def test_a_backend_that_hangs(name, postgres_url):
    settings = Settings(store_timeout=TIMEOUT)
    async with open_store(name, postgres_url, settings) as store:
        pid = await store._run.read(
            lambda connection: connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        )
        os.kill(pid, signal.SIGSTOP)
        try:
            with at_most(2 * TIMEOUT), pytest.raises(StoreUnavailable):
                await store.position()
            # It is only that one: the next caller has a new connection.
            assert await store.position() == 0
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_whoever_waits_for_a_connection_waits_no_longer(name, postgres_url):
    async with store_behind_proxy(name, postgres_url, store_connections=1) as (store, proxy):
        await store.position()
        proxy.silence()

        def ask():
            return store.position()

        async def ask_in_thread():
            return await asyncio.to_thread(lambda: asyncio.run(ask()))

        start = ask_in_thread if name.startswith("inline") else ask
        with at_most(2 * TIMEOUT + 2):
            results = await asyncio.gather(*(start() for _ in range(4)), return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable] * 4
        assert any("raise store_connections" in str(result) for result in results)


async def test_whoever_is_cancelled_goes_soon(name, postgres_url):
    async with store_behind_proxy(name, postgres_url) as (store, proxy):
        await store.position()
        proxy.silence()
        with at_most(2 * TIMEOUT):
            if name.startswith("native"):
                asking = asyncio.create_task(store.position())
                spoken = proxy.sent
                await asyncio.to_thread(eventually, lambda: proxy.sent > spoken)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            else:
                with pytest.raises(StoreUnavailable):
                    await store.position()
        proxy.speak()
        assert await store.position() == 0


async def test_connections_that_were_cut_meanwhile(name, postgres_url):
    async with open_store(name, postgres_url) as store:
        if name.startswith("native"):
            await asyncio.gather(*(store.position() for _ in range(5)))
        else:
            await asyncio.gather(
                *(asyncio.to_thread(lambda: asyncio.run(store.position())) for _ in range(5))
            )
        with psycopg.connect(postgres_url, autocommit=True) as other:
            cut = other.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE application_name = 'keymw' AND datname = current_database()"
            ).fetchall()
        assert cut
        for _ in range(5):
            assert await store.position() == 0
        await store.insert(project_key(), new_digest(), "created", None)


async def test_a_restart(name):
    with postgres_server() as url, contextlib.ExitStack() as stack:
        folder = re.search(r"host=([^&]+)", url).group(1)

        def control(verb, *options):
            subprocess.run(
                [_postgres_program("pg_ctl"), "-D", f"{folder}/data", "-w", *options, verb],
                check=True,
                stdout=subprocess.DEVNULL,
                cwd="/",
                **_postgres_account(),
            )

        async with open_store(name, url) as store:
            digest = new_digest()
            await store.insert(project_key(), digest, "created", None)
            control("restart", "-m", "fast", "-l", f"{folder}/log")
            stack.callback(control, "stop", "-m", "immediate")
            assert (await store.find(digest)).key_id == "k1"
            stack.pop_all()
            control("stop", "-m", "fast")
            for _ in range(2):
                with at_most(0), pytest.raises(StoreUnavailable, match="that PostgreSQL runs"):
                    await store.find(digest)
            control("start", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses=")
            stack.callback(control, "stop", "-m", "immediate")
            assert (await store.find(digest)).key_id == "k1"
            await store.change("k1", roll(new_digest()))


async def test_a_find_is_one_round_trip(name, postgres_url):
    async with store_behind_proxy(name, postgres_url, store_timeout=5) as (store, proxy):
        digest = new_digest()
        await store.insert(project_key(), digest, "created", None)
        for _ in range(7):  # psycopg prepares what it sees often, once for each connection
            await store.find(digest)
        before = proxy.sent
        for _ in range(10):
            assert (await store.find(digest)).key_id == "k1"
            assert await store.find(new_digest()) is None
        eventually(lambda: proxy.sent == before + 20)
        assert proxy.accepted == 1
