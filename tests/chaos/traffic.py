"""Clients that never pause: they ask every worker with good keys and with those that are to end."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from dataclasses import dataclass

from conftest import eventually

#: Threads a worker, and seconds between two requests of each: a few hundred requests a second.
_THREADS = 2
_PAUSE = {"good": 0.05, "ending": 0.03}
#: Seconds that a client waits for an answer: keymw's own patience is much shorter.
_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what came of it. Times are monotonic seconds, of one clock."""

    worker: str
    #: `good`, or `ending` for a key that is being revoked.
    role: str
    sent: float
    received: float
    #: 0 if the connection broke or nothing came in time.
    status: int
    #: When the request came into the worker and when it reached the app, if it was accepted.
    entered: float = 0.0
    reached: float = 0.0


class Traffic:
    """Runs the clients. What they send may be changed at any time."""

    def __init__(self, workers):
        self._workers = workers
        self._stopping = threading.Event()
        #: What is sent: tokens by role and by the name of the worker that is asked.
        self._sent = {(role, name): () for role in _PAUSE for name in workers}
        self._answers = []
        self._asking = {}
        self._threads = [
            threading.Thread(target=self._ask, args=(worker, role), name=f"{role} {worker.name}")
            for worker in workers.values()
            for role in _PAUSE
            for _ in range(_THREADS)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def send(self, role, tokens, *names):
        """Send these too, to the named workers or to all."""
        for name in names or self._workers:
            self._sent[role, name] += tuple(tokens)

    def stop(self, role):
        """Send none of a role any more."""
        for name in self._workers:
            self._sent[role, name] = ()

    def since(self, moment):
        """Return the answers to requests that were sent after a moment."""
        return [each for each in tuple(self._answers) if each.sent > moment]

    def finish(self):
        """Wait until every request that has been sent by now is answered."""
        now = time.monotonic()
        eventually(lambda: all(sent > now for sent in tuple(self._asking.values())), 2 * _TIMEOUT)

    def forget(self):
        """Drop what there is, for the next trial."""
        self._answers = []

    def _ask(self, worker, role):
        connection = worker.connect(_TIMEOUT)
        for number in itertools.count():
            if self._stopping.wait(_PAUSE[role]):
                connection.close()
                return
            tokens = self._sent[role, worker.name]
            if tokens:
                self._send(connection, worker, role, tokens[number % len(tokens)])

    def _send(self, connection, worker, role, token):
        sent = self._asking[threading.get_ident()] = time.monotonic()
        status, stamps = 0, {}
        try:
            connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            status, body = response.status, response.read()
            stamps = json.loads(body) if status == 200 else {}
        except (OSError, http.client.HTTPException):
            connection.close()
        self._answers.append(Answer(worker.name, role, sent, time.monotonic(), status, **stamps))
        del self._asking[threading.get_ident()]
