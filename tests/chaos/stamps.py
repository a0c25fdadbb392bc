"""Where the workers' apps agree: what they answer, and where they show their counters."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict

#: Where a worker shows `keys.stats()`, with no key asked for.
STATS = "/stats"
SCOPE = "endpoint:read"
KINDS = ("project_secret", "personal")


def accepted(entered):
    """Return the body of an accepted request: when it came in, and when the app was reached.

    Monotonic seconds, the same clock in all processes of a machine.
    """
    return json.dumps({"entered": entered, "reached": time.monotonic()}).encode()


def counters(keys):
    """Return the body that shows a worker's counters."""
    return json.dumps({"pid": os.getpid(), **asdict(keys.stats())}).encode()
