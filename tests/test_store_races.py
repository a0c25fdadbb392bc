"""Several writers at once: in threads, on one event loop, and in processes of their own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from keymw import KeyService
from keymw._step import run_now
from keymw.errors import LabelTaken
from keymw.store.sql import SqlStore
from stores import (
    RUNNERS,
    database_of,
    make_runner,
    new_digest,
    open_store,
    project_key,
    update,
)

_CHILD = """
import json, sys
from keymw import KeyService, Settings
from keymw.errors import LabelTaken

url, name, labels = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with KeyService(url, settings=Settings(max_keys_per_project=100)) as keys:
    keys.verify("phs_")
    print("ready", flush=True)
    sys.stdin.readline()
    won = []
    for label in labels:
        try:
            won.append(keys.issue_project_key("2", label, ["endpoint:read"], actor=name).key.id)
        except LabelTaken:
            won.append(None)
print(json.dumps(won))
"""


def race(url, labels_by_name):
    """Let processes issue keys with these labels, all from the same moment on."""
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _CHILD, url, name, json.dumps(labels)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, labels in labels_by_name.items()
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    answers = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return [json.loads(answer) for answer in answers]


def test_processes_that_want_the_same_labels(database_url):
    with KeyService(database_url) as keys:
        keys.migrate()
        labels = [f"label {number}" for number in range(10)]
        results = race(database_url, dict.fromkeys("abcd", labels))
        for contest in zip(*results, strict=True):
            assert sum(key_id is not None for key_id in contest) == 1
        assert sorted(key.label for key in keys.list(project_id="2")) == labels


def test_processes_that_issue_at_once_lose_nothing(database_url):
    with KeyService(database_url) as keys:
        keys.migrate()
        wanted = {name: [f"{name} {number}" for number in range(25)] for name in "abcd"}
        results = race(database_url, wanted)
        issued = [key_id for result in results for key_id in result]
        assert None not in issued
        assert {key.id for key in keys.list(project_id="2")} == set(issued)
        assert len(set(issued)) == 100
        events = keys.history(project_id="2", limit=1000)
        assert [event.seq for event in events] == list(range(100, 0, -1))
        for name, result in zip(wanted, results, strict=True):
            # Each process's commits have the order in which it made them.
            assert [event.key_id for event in reversed(events) if event.actor == name] == result


def test_threads_that_want_the_same_label(database_url):
    with KeyService(database_url) as keys:
        keys.migrate()
        together = threading.Barrier(8)

        def issue(number):
            together.wait()
            try:
                return keys.issue_project_key("2", f"label {number // 8}", ["endpoint:read"])
            except LabelTaken:
                return None

        with ThreadPoolExecutor(8) as pool:
            issued = list(pool.map(issue, range(32)))
        for start in range(0, 32, 8):
            assert sum(one is not None for one in issued[start : start + 8]) == 1
        assert [event.seq for event in keys.history(project_id="2")] == [4, 3, 2, 1]


@pytest.mark.parametrize("name", ["threaded-sqlite", "native-postgresql"])
async def test_tasks_that_want_the_same_label(name, request):
    async with open_store(name, database_of(name, request)) as store:
        results = await asyncio.gather(
            *(
                store.insert(project_key(f"k{number}"), new_digest(), "created", None)
                for number in range(16)
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(result, LabelTaken) for result in results) == 15
        assert await store.position() == 1


@pytest.mark.parametrize("name", RUNNERS)
def test_changes_to_one_key_stand_in_line(name, request):
    url = database_of(name, request)
    with KeyService(url) as keys:
        keys.migrate()

    async def change_often():
        async with open_store(name, url, migrated=False) as store:
            for _ in range(10):
                await store.change("k1", lambda row: update(label=f"{row.label}+")(row))

    async def insert():
        async with open_store(name, url, migrated=False) as store:
            await store.insert(project_key(label="x"), new_digest(), "created", None)

    asyncio.run(insert())
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: asyncio.run(change_often()), range(3)))
    with KeyService(url) as keys:
        assert (keys.get("k1").label, keys.get("k1").version) == ("x" + "+" * 30, 31)
        events = keys.history(key_id="k1")
        assert [event.version for event in events] == list(range(31, 0, -1))


def test_numbers_appear_in_the_feed_in_order(database_url):
    """Whoever reads up to a number never finds a smaller one later: there is nothing to find."""
    with KeyService(database_url) as keys:
        keys.migrate()
        done = threading.Event()
        gaps = []

        kind = "inline-sqlite" if database_url.startswith("sqlite") else "inline-postgresql"
        store = SqlStore(make_runner(kind, database_url))

        def watch():
            while not done.is_set():
                position, changes = run_now(store.feed(0, 1000))
                numbers = [change.seq for change in changes]
                if numbers != list(range(1, position + 1)):
                    gaps.append(numbers)
            run_now(store.aclose())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with ThreadPoolExecutor(4) as pool:
                list(
                    pool.map(
                        lambda number: keys.issue_project_key("2", f"{number}", ["a:read"]),
                        range(40),
                    )
                )
        finally:
            done.set()
            watcher.join()
        assert gaps == []


def test_two_connections_cannot_share_a_number(postgres_url):
    """The second writer's insert waits for the first one's commit, not only its number."""
    with KeyService(postgres_url) as keys:
        keys.migrate()
        with psycopg.connect(postgres_url) as other, ThreadPoolExecutor(1) as pool:
            other.execute("UPDATE keymw_counter SET value = value + 1")
            issuing = pool.submit(keys.issue_project_key, "2", "label", ["a:read"])
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            with psycopg.connect(postgres_url, autocommit=True) as watching:
                while watching.execute(waiting).fetchone() == (0,):
                    assert not issuing.done()
            other.commit()
            issuing.result(10)
        assert [event.seq for event in keys.history(project_id="2")] == [2]


def test_the_default_database_lies_where_the_process_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with KeyService() as keys:
        keys.migrate()
        keys.issue_project_key("2", "label", ["a:read"])
    assert Path("keymw.db").exists()
