"""The process that changes keys: calls come in as lines of JSON, and go out with their times.

python -m chaos.revoker [--doomed]

A doomed one dies at the moment at which it would tell Redis of what it has just committed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta

from keymw import KeyService
from keymw.cache.redis import RedisCache
from keymw.errors import KeymwError


def _plain(answer):
    """Return what is asked of an answer, as JSON knows it."""
    propagation = getattr(answer, "propagation", None) or answer
    plain = {"token": answer.token, "id": answer.key.id} if hasattr(answer, "token") else {}
    if hasattr(propagation, "acknowledged"):
        bound = propagation.bound / timedelta(seconds=1)
        plain |= {"acknowledged": propagation.acknowledged, "bound": bound}
    return plain


def _say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _die(*_, **__):
    _say(returned=time.monotonic())
    os._exit(1)


def main():
    with KeyService.from_env() as keys:
        keys.list(project_id="none")  # connected before it matters
        _say(ready=True)
        if sys.argv[1:] == ["--doomed"]:
            assert RedisCache.publish
            RedisCache.publish = _die
        for line in sys.stdin:
            method, args, options = json.loads(line)
            try:
                answer = getattr(keys, method)(*args, **options)
            except KeymwError as error:
                _say(error=repr(error))
            else:
                returned = time.monotonic()
                _say(returned=returned, **_plain(answer))


if __name__ == "__main__":
    main()
