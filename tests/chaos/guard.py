"""Ends the harness's children when the harness itself was ended by force.

python -m chaos.guard FOLDER      standard input: `+PID` and `-PID`, a line each, until it closes
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time

#: Seconds between asking and forcing.
_GRACE = 3.0


def main(folder):
    alive = set()
    for line in sys.stdin:
        change = alive.add if line[0] == "+" else alive.discard
        change(int(line[1:]))
    if not alive:
        return
    _send(alive, signal.SIGCONT)
    _send(alive, signal.SIGTERM)
    time.sleep(_GRACE)
    _send(alive, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _send(leaders, number):
    """Send a signal to process groups: a child of the harness leads one, and has children in it."""
    for leader in leaders:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, number)


if __name__ == "__main__":
    main(sys.argv[1])
