"""A forked child starts anew, with threads and leases of its own, and leaves its parent alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from keymw import KeyService

BLOCKING = """
from keymw import KeyService as Service

def verify(keys, token):
    return keys.verify(token)

def issue(keys, label):
    return keys.issue_project_key("child", label, ["other:read"])

def close(keys):
    keys.close()
"""

ASYNC = """
import asyncio
from keymw import AsyncKeyService as Service

def verify(keys, token):
    return asyncio.run(keys.verify(token))

def issue(keys, label):
    return asyncio.run(keys.issue_project_key("child", label, ["other:read"]))

def close(keys):
    asyncio.run(keys.aclose())
"""

FORK = """
import os, sys, threading, time
from keymw import Granted

def listeners():
    names = {thread.name for thread in threading.enumerate()}
    return sorted(names & {"keymw-feed", "keymw-stream"})

def believes(keys):
    return time.monotonic() < keys._local.fence.until

def until(check):
    end = time.monotonic() + 20
    while not check():
        assert time.monotonic() < end
        time.sleep(0.01)

database, redis, token = sys.argv[1:]
threads = ["keymw-feed"] + ["keymw-stream"] * bool(redis)
keys = Service(database, redis=redis or None)
for used in (False, True):
    if used:
        assert isinstance(verify(keys, token), Granted)
        until(lambda: believes(keys))
        assert listeners() == threads
    child = os.fork()
    if not child:
        assert listeners() == []
        assert not believes(keys)
        assert keys.stats().l1_size == 0 and keys.stats().store_reads == 0
        for _ in range(20):
            assert isinstance(verify(keys, token), Granted)
            keys._local.clear()
        assert listeners() == threads
        until(lambda: believes(keys))
        issue(keys, f"c{os.getpid()}")
        sys.exit(7)  # the ordinary way, with everything that is done at exit
    for _ in range(20):
        keys._local.clear()
        assert isinstance(verify(keys, token), Granted)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    keys._local.clear()
    assert isinstance(verify(keys, token), Granted)
    assert listeners() == threads
    until(lambda: believes(keys))
close(keys)
assert listeners() == []
print("unharmed")
"""

BUSY = """
import os, sys, threading
from keymw import Granted, KeyService

database, redis, token = sys.argv[1:]
keys = KeyService(database, redis=redis or None)
over = threading.Event()

def work():
    while not over.is_set():
        keys._local.clear()
        keys.verify(token)

keys.verify(token)  # whatever is imported late has been by now
workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers:
    worker.start()
for _ in range(8):
    child = os.fork()
    if not child:
        answered = isinstance(keys.verify(token), Granted)
        os._exit(7 if answered else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
over.set()
for worker in workers:
    worker.join()
assert isinstance(keys.verify(token), Granted)
keys.close()
print("unharmed")
"""


def run(code, *arguments):
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning"),
            *("-W", "ignore::ResourceWarning", "-c", code),  # the children close nothing
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=dict(os.environ),
    )
    assert (done.stdout, done.stderr, done.returncode) == ("unharmed\n", "", 0)


def new_token(database):
    with KeyService(database) as keys:
        keys.migrate()
        return keys.issue_project_key("2", "x", ["other:read"]).token


@pytest.mark.parametrize("face", [BLOCKING, ASYNC], ids=["blocking", "async"])
@pytest.mark.parametrize("with_redis", [True, False])
def test_a_child_starts_anew_and_leaves_its_parent_alone(face, database_url, redis_url, with_redis):
    token = new_token(database_url)
    run(face + FORK, database_url, redis_url if with_redis else "", token)
    with KeyService(database_url) as keys:
        assert len(keys.list(project_id="child")) == 2


def test_a_child_of_a_process_whose_threads_are_all_busy(postgres_url, redis_url):
    """Whatever lock of keymw's one of them holds at that moment, the child does not wait for it.

    SQLite's own locks are another matter: its library must not be in use while a process forks.
    """
    run(BUSY, postgres_url, redis_url, new_token(postgres_url))
