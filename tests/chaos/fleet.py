"""The parts on trial: Redis, PostgreSQL, two ASGI and two WSGI workers, and a revoker."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from chaos import stamps
from chaos.backends import Postgres, Redis
from chaos.processes import PATIENCE, Processes, environment
from chaos.proxies import Wires
from conftest import eventually

#: How each worker is started, with `{fd}` for the socket that it listens on.
_CONFIGURED = ("-c", "python:chaos.wsgi_worker", "-b", "fd://{fd}")
_GUNICORN = ("gunicorn", "chaos.wsgi_worker:app", *_CONFIGURED)
COMMANDS = {
    "asgi-1": ("chaos.asgi_worker", "{fd}"),
    "asgi-2": ("chaos.asgi_worker", "{fd}"),
    "wsgi-threads": (*_GUNICORN, "-k", "gthread", "--threads", "4"),
    "wsgi-sync": (*_GUNICORN, "-k", "sync"),
}
ASGI, WSGI = tuple(COMMANDS)[:2], tuple(COMMANDS)[2:]


class Worker:
    """A worker, with the proxies through which it alone reaches Redis and PostgreSQL."""

    def __init__(self, name, fleet):
        self.name = name
        self.log = fleet.processes.log(name)
        self.redis = fleet.wires.proxy(str(fleet.redis.socket))
        self.postgres = fleet.wires.proxy(str(fleet.postgres.socket))
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            self.port = listener.getsockname()[1]
            descriptor = listener.fileno()
            command = [part.format(fd=descriptor) for part in COMMANDS[name]]
            self.process = fleet.processes.start(
                name,
                [sys.executable, "-m", *command],
                pass_fds=(descriptor,),
                env=environment(
                    KEYMW_DATABASE_URL=f"postgresql://keymw@127.0.0.1:{self.postgres.port}/postgres",
                    KEYMW_REDIS_URL=f"redis://127.0.0.1:{self.redis.port}",
                    CHAOS_TOKENS=str(fleet.tokens),
                ),
            )

    def connect(self, seconds=PATIENCE):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def counters(self):
        """Return the counters of the process that serves, with its id; it may be a child."""
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", stamps.STATS)
            return json.loads(connection.getresponse().read())

    def serves(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended:\n{self.log.read_text()}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return bool(self.counters())
        return False

    def stop(self):
        """Stop the process that serves; return its id, to continue it with."""
        pid = self.counters()["pid"]
        os.kill(pid, signal.SIGSTOP)
        return pid


class Revoker:
    """A process that changes keys over connections of its own."""

    def __init__(self, fleet, *options):
        self._processes = fleet.processes
        self._process = fleet.processes.start(
            "revoker",
            [sys.executable, "-m", "chaos.revoker", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(KEYMW_DATABASE_URL=fleet.postgres.url, KEYMW_REDIS_URL=fleet.redis.url),
        )
        self._lock = threading.Lock()
        self._hear()

    def _hear(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the revoker has ended")
        return json.loads(line)

    def try_to(self, method, *args, **options):
        """Make one call; the answer has `error`, or `returned` and what the call said."""
        with self._lock:
            self._process.stdin.write(json.dumps([method, args, options]).encode() + b"\n")
            self._process.stdin.flush()
            return self._hear()

    def call(self, method, *args, **options):
        """Make a call again and again until it has worked, as whoever revokes a key would."""
        answers = []

        def works():
            answers.append(self.try_to(method, *args, **options))
            return "error" not in answers[-1]

        eventually(works, PATIENCE)
        return answers[-1]

    def end(self):
        self._processes.end(self._process)


@contextlib.contextmanager
def running_fleet():
    """Run all parts; afterwards none of them and nothing of them is left."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kc")))
        folder.chmod(0o711)  # PostgreSQL may run as somebody else
        fleet = Fleet(stack.enter_context(Processes(folder)), stack.enter_context(Wires()), folder)
        fleet.start()
        yield fleet


class Fleet:
    """All parts."""

    def __init__(self, processes, wires, folder):
        self.processes = processes
        self.wires = wires
        #: Tokens that gunicorn's masters check before they fork.
        self.tokens = folder / "tokens"
        self.tokens.write_text("")
        self.redis = Redis(processes, folder)
        self.postgres = Postgres(processes, folder)

    def start(self):
        self.redis.start()
        self.postgres.create()
        self.postgres.start()
        subprocess.run(
            [sys.executable, "-m", "keymw", "migrate"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment(KEYMW_DATABASE_URL=self.postgres.url),
        )
        self.revoker = Revoker(self)
        #: Keys that stay good for as long as the fleet runs: several of each of some tenants.
        self.good = [self.issue(tenant) for tenant in "1234" for _ in range(2)]
        self.tokens.write_text(self.good[0]["token"])
        self.workers = {name: Worker(name, self) for name in COMMANDS}
        for worker in self.workers.values():
            eventually(worker.serves, PATIENCE)

    def issue(self, project):
        """Issue a project key; the answer has its `id` and `token`."""
        label = os.urandom(8).hex()
        return self.revoker.call("issue_project_key", project, label, [stamps.SCOPE])

    def issue_personal(self, user):
        label = os.urandom(8).hex()
        return self.revoker.call("issue_personal_key", user, label, [stamps.SCOPE])

    def relabel(self, key):
        """Change a key in a way that leaves it good."""
        self.revoker.call("update", key["id"], label=os.urandom(8).hex())

    def counters(self):
        return {name: worker.counters() for name, worker in self.workers.items()}
