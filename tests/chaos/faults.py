"""Each fault is one function: up to its `yield` it breaks something, after it that is mended.

It is given the stage of a trial: the fleet, the worker that is hit, and the keys that are to end.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

from chaos.processes import PATIENCE
from chaos.proxies import Proxy
from conftest import eventually
from keymw.tokens import digest

#: How often it is tried to have keys in Redis.
_FILLS = 20
#: Seconds by which a slow database is late.
SLOW = 1.9


@contextmanager
def nothing(stage):
    yield


@contextmanager
def streams_killed(stage):
    stage.fleet.redis.kill_streams()
    yield


@contextmanager
def streams_cut(stage):
    workers = stage.fleet.workers.values()
    for worker in workers:
        worker.redis.cut_streams()
    try:
        yield
    finally:
        for worker in workers:
            worker.redis.mend()


@contextmanager
def worker_stopped(stage):
    pid = stage.target.stop()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def redis_hangs(stage):
    stage.fleet.redis.pause()
    try:
        yield
    finally:
        stage.fleet.redis.resume()


@contextmanager
def redis_shut_down(stage):
    stage.fleet.redis.shut_down()
    try:
        yield
    finally:
        stage.fleet.redis.start()


@contextmanager
def redis_killed(stage):
    stage.fleet.redis.kill()
    try:
        yield
    finally:
        stage.fleet.redis.start()


def _holds(redis, tokens):
    return all(redis.holds(digest(token.encode())) for token in tokens)


def save_redis(stage):
    """Keep a snapshot in which the keys that are to end are good ones."""
    for _ in range(_FILLS):
        if _holds(stage.fleet.redis, stage.ending):
            break
        # A fill may be lost on the way, and all of them have the keys in L1: let them ask again.
        for key in stage.keys:
            stage.fleet.relabel(key)
        stage.put_in_use()
    else:
        raise RuntimeError("the keys do not come into Redis")
    stage.fleet.redis.save()


@contextmanager
def redis_reverted(stage):
    redis = stage.fleet.redis
    redis.kill()
    for worker in stage.fleet.workers.values():
        worker.redis.silence()  # so that nobody mends it before the harness has looked
    try:
        redis.start(from_snapshot=True)
        assert _holds(redis, stage.ending)
    finally:
        for worker in stage.fleet.workers.values():
            worker.redis.mend()
    yield


@contextmanager
def replies_slow(stage):
    stage.target.postgres.delay(SLOW)
    try:
        yield
    finally:
        stage.target.postgres.mend()


@contextmanager
def postgres_crashed(stage):
    stage.fleet.postgres.crash()
    try:
        yield
    finally:
        stage.fleet.postgres.start()


def _wire(breakage, *servers):
    """Return the fault that is a breakage of the way from one worker to some servers."""

    @contextmanager
    def fault(stage):
        proxies = [getattr(stage.target, server) for server in servers]
        for proxy in proxies:
            breakage(proxy)
        try:
            yield
        finally:
            for proxy in proxies:
                proxy.mend()

    return fault


redis_cut = _wire(Proxy.cut, "redis")
redis_silent = _wire(Proxy.silence, "redis")
postgres_cut = _wire(Proxy.cut, "postgres")
postgres_silent = _wire(Proxy.silence, "postgres")
cut_off = _wire(Proxy.silence, "redis", "postgres")


def _replace(worker):
    """Have a gunicorn's child replaced by a new one."""
    old = worker.counters()["pid"]
    os.kill(old, signal.SIGKILL)
    eventually(lambda: worker.serves() and worker.counters()["pid"] != old, PATIENCE)


@contextmanager
def forked(stage):
    """Fork a new child while its parent has the keys that are to end in its L1."""
    tokens = stage.fleet.tokens
    kept = tokens.read_text()
    tokens.write_text("\n".join([kept, *stage.ending]))
    try:
        _replace(stage.target)
        yield
    finally:
        tokens.write_text(kept)


@contextmanager
def reverted_and_forked(stage):
    """Begin a process, which has seen nothing yet, on a Redis that has forgotten the change."""
    with redis_reverted(stage):
        _replace(stage.target)
        yield
