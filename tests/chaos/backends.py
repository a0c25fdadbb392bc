"""A Redis and a PostgreSQL that can be stopped, killed and started again where they were."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess

import psycopg
import redis

from chaos.processes import PATIENCE
from conftest import eventually
from servers import _postgres_account, _postgres_program


class Redis:
    """A redis-server on a Unix socket, which stays the same whatever happens to the server."""

    def __init__(self, processes, folder):
        self._processes = processes
        self._folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._snapshot = folder / "dump.rdb"
        self._saved = folder / "saved.rdb"

    def start(self, *, from_snapshot=False):
        """Start it empty, or with what `save` has kept."""
        self._snapshot.unlink(missing_ok=True)
        if from_snapshot:
            shutil.copyfile(self._saved, self._snapshot)
        self.process = self._processes.start(
            "redis",
            [
                *(shutil.which("redis-server"), "--port", "0", "--unixsocket", str(self.socket)),
                *("--save", "", "--dir", str(self._folder)),
            ],
        )
        eventually(self._answers, PATIENCE)

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket)) != 0:
                return False
        with self.client() as client:
            try:
                return client.ping()
            except redis.exceptions.BusyLoadingError:
                return False

    def client(self):
        return redis.Redis.from_url(self.url)

    def save(self):
        """Keep a snapshot of what is in it now."""
        with self.client() as client:
            client.save()
        shutil.copyfile(self._snapshot, self._saved)

    def holds(self, digest):
        """Say whether a value lies under a digest."""
        with self.client() as client:
            return any(client.scan_iter(f"*{digest.hex()}*", count=1000))

    def kill_streams(self):
        """Break every connection on which somebody waits for changes."""
        with self.client() as client:
            for each in client.client_list():
                if each["cmd"] == "xread":
                    client.client_kill_filter(_id=each["id"])

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def shut_down(self):
        self._processes.end(self.process)

    def kill(self):
        self._processes.end(self.process, signal.SIGKILL)


class Postgres:
    """A PostgreSQL cluster on a Unix socket."""

    def __init__(self, processes, folder):
        self._processes = processes
        self._account = _postgres_account()
        self._folder = folder / "postgres"
        self._folder.mkdir()
        self.socket = self._folder / ".s.PGSQL.5432"
        self.url = f"postgresql://keymw@/postgres?host={self._folder}"

    def create(self):
        if self._account:
            shutil.chown(self._folder, self._account["user"])
        subprocess.run(
            [
                _postgres_program("initdb"),
                *("-D", str(self._folder / "data"), "-U", "keymw", "-A", "trust", "-E", "UTF8"),
                *("--no-sync", "--locale=C"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self._account,
        )

    def start(self):
        self.process = self._processes.start(
            "postgres",
            [
                _postgres_program("postgres"),
                *("-D", str(self._folder / "data"), "-k", str(self._folder)),
                *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"),
            ],
            ends_by=signal.SIGINT,  # by SIGTERM it would wait for its clients
            cwd="/",
            **self._account,
        )
        eventually(self._takes_queries, PATIENCE)

    def _takes_queries(self):
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def crash(self):
        """End it as `pg_ctl stop -m immediate` does: no goodbye, recovery at the next start."""
        self._processes.end(self.process, signal.SIGQUIT)
