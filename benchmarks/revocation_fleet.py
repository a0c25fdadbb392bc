"""The worker processes, as the revoker sees them, and what cuts them off from Redis."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revocation_contenders import client_name
from revocation_watch import Report, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from subprocess import Popen

    import redis

    from revocation_servers import Place

_WORKER = Path(__file__).with_name("revocation_worker.py")
#: Seconds that a worker gets to hold keys, or to report.
_PATIENCE = 30.0
#: Seconds between two cuts, for as long as connections are cut.
_PACE = 0.0002


def faces(count: int) -> list[str]:
    """Return the kinds of that many workers: each third one blocks."""
    return ["blocking" if number % 3 == 2 else "async" for number in range(count)]


class Fleet:
    """Workers that watch keys."""

    def __init__(self, place: Place, database: str, redis_url: str, count: int) -> None:
        self._place = place
        self._workers: dict[Any, str] = {}
        self._processes: dict[str, Popen[bytes]] = {}
        for number, face in enumerate(faces(count), 1):
            ours, theirs = Pipe()
            with theirs:
                descriptor = theirs.fileno()
                name = f"worker {number}"
                command = (sys.executable, _WORKER, str(descriptor), face, database, redis_url)
                self._processes[name] = place.start(name, command, pass_fds=(descriptor,))
            self._workers[ours] = name

    def __len__(self) -> int:
        return len(self._workers)

    def check(self) -> None:
        """Raise `RuntimeError` if a worker has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended.\n{self._place.said(name)}")

    def watch(self, contender: str, tokens: Sequence[str]) -> None:
        """Return once every worker holds all keys in its memory and asks for them."""
        for connection in self._workers:
            self._send(connection, Watch(contender, tokens))
        for _ in self._receive(_PATIENCE):
            pass

    def reports(self, patience: float) -> list[Report]:
        """Return what the workers saw, after `patience` seconds at the most."""
        found = list(self._receive(patience, stop=True))
        return [report for report in found if isinstance(report, Report)]

    def _receive(self, patience: float, *, stop: bool = False) -> Iterator[object]:
        """Give one message of each worker."""
        left = set(self._workers)
        deadline = time.monotonic() + patience
        while left:
            ready = wait(left, max(deadline - time.monotonic(), 0.0))
            for connection in ready:
                left.discard(connection)
                yield self._read(connection)
            if ready or time.monotonic() < deadline:
                continue
            if not stop:
                raise RuntimeError(f"{self._workers[left.pop()]} does not answer.")
            for connection in left:
                self._send(connection, "stop")
            deadline, stop = time.monotonic() + _PATIENCE, False

    def _send(self, connection: Any, order: object) -> None:
        with self._alive(connection):
            connection.send(order)

    def _read(self, connection: Any) -> object:
        with self._alive(connection):
            return connection.recv()

    @contextmanager
    def _alive(self, connection: Any) -> Iterator[None]:
        """Name the worker that is not there any more, and what it has said."""
        try:
            yield
        except (EOFError, ConnectionError):
            name = self._workers[connection]
            self._processes[name].wait(_PATIENCE)  # it may still be saying why
            raise RuntimeError(f"{name} has ended.\n{self._place.said(name)}") from None


class Scissors:
    """Cut the connections of one contender's workers to Redis; the revoker's are left alone."""

    def __init__(self, client: redis.Redis, contender: str) -> None:
        self._client = client
        self._name = client_name(contender)

    def _connections(self) -> list[dict[str, str]]:
        return [found for found in self._client.client_list() if found["name"] == self._name]

    def listeners(self) -> int:
        """Return how many connections wait for messages, of a channel or of a stream."""
        return sum(bool({"b", "P"} & set(found["flags"])) for found in self._connections())

    def _cut(self) -> None:
        for found in self._connections():
            self._client.client_kill_filter(_id=found["id"])

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """Cut every connection, and again when it comes back, until the block is done."""
        done = threading.Event()

        def cut_again() -> None:
            while not done.wait(_PACE):
                self._cut()

        self._cut()
        thread = threading.Thread(target=cut_again)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
