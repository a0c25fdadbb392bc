"""Children of the harness: each has a log, and none outlives the harness, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
#: Seconds that a child gets to start or to end.
PATIENCE = 30.0


def environment(**variables):
    """Return this process's environment without what would make children slow or strange."""
    ours = ("KEYMW_", "COV_", "COVERAGE_", "PYTEST_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | variables


class Processes:
    """Starts children and ends them by their id, in the order opposite to that of the start."""

    def __init__(self, folder):
        self.folder = folder
        self._running = {}

    def __enter__(self):
        # It sees the end of this process even where nothing else can: its standard input closes.
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "chaos.guard", str(self.folder)],
            cwd=TESTS,
            env=environment(),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def start(self, name, command, *, ends_by=signal.SIGTERM, **options):
        """Start a command; what it says goes to the log of its name."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                **{
                    "cwd": TESTS,
                    "env": environment(),
                    "stdin": subprocess.DEVNULL,
                    "stdout": log,
                    "stderr": log,
                    "start_new_session": True,  # Ctrl-C is for the harness, which ends them
                }
                | options,
            )
        self._running[process] = ends_by
        self._tell_guard(f"+{process.pid}")
        return process

    def end(self, process, number=None):
        """End a child with a signal, by force if it does not listen."""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number or self._running[process])
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own children too
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._tell_guard(f"-{process.pid}")
        del self._running[process]

    def log(self, name):
        return self.folder / f"{name}.log"

    def _tell_guard(self, line):
        self._guard.stdin.write(f"{line}\n".encode())
        self._guard.stdin.flush()

    def __exit__(self, *error):
        for process in reversed(tuple(self._running)):
            self.end(process)
        self._guard.stdin.close()
        self._guard.wait(PATIENCE)
