"""The WSGI workers: gunicorn with `--preload`, and a `KeyService` from the environment.

It is gunicorn's configuration too. The master uses the service before each fork, so that a child
inherits all that a used service has: caches, connections, locks, and the memory of threads.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from chaos import stamps
from keymw import Granted, KeyService, require_scopes
from keymw.wsgi import KeyAuthMiddleware

#: gunicorn's settings.
preload_app = True
workers = 1
keepalive = 75
timeout = 120
loglevel = "warning"
control_socket_disable = True


@require_scopes(stamps.SCOPE, kinds=stamps.KINDS)
def view(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [stamps.accepted(environ["chaos.entered"])]


keys = KeyService.from_env()
guarded = KeyAuthMiddleware(view, keys, required=True)


def app(environ, start_response):
    if environ["PATH_INFO"] == stamps.STATS:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [stamps.counters(keys)]
    environ["chaos.entered"] = time.monotonic()
    return guarded(environ, start_response)


def pre_fork(server, worker):
    """Have the tokens that the harness has written down in the master's L1 when it forks."""
    tokens = Path(os.environ["CHAOS_TOKENS"]).read_text().split()
    verdicts = [keys.verify(token) for token in tokens]
    server.log.warning("forks with %d keys", sum(isinstance(v, Granted) for v in verdicts))
