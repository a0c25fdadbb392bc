"""One worker process of `revocation.py`, with both caches in it.

python revocation_worker.py FD async|blocking DATABASE REDIS      FD: a socket handed down
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from keymw import AsyncKeyService, KeyService
from revocation_contenders import KEYMW, PLAIN, TTL, KeymwChecker, PlainChecker, client_name
from revocation_plain import PlainCache
from revocation_watch import Watch, hold, watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keymw.model import Verdict
    from revocation_watch import Checker


async def run(connection: Connection, face: str, database: str, redis: str) -> None:
    """Open both caches, and do as told until nobody is there to tell."""
    async with AsyncExitStack() as stack:
        url = f"{redis}?client_name={client_name(KEYMW)}"
        if face == "async":
            keys = await stack.enter_async_context(AsyncKeyService(database, redis=url))
            keymw = KeymwChecker(keys.verify, keys.stats)
        else:
            blocking = stack.enter_context(KeyService(database, redis=url))

            async def verify(token: str) -> Verdict:
                return blocking.verify(token)

            keymw = KeymwChecker(verify, blocking.stats)
        url = f"{redis}?client_name={client_name(PLAIN)}"
        plain = stack.enter_context(PlainCache(database, url, TTL))
        plain.listen()
        await obey(connection, {KEYMW: keymw, PLAIN: PlainChecker(plain)})


async def obey(connection: Connection, checkers: Mapping[str, Checker]) -> None:
    """Watch keys; say when they are held, and what was seen in the end."""
    while True:
        try:
            order = await asyncio.to_thread(connection.recv)
        except EOFError:
            return
        if not isinstance(order, Watch):  # "stop", and it has stopped already
            continue
        checker = checkers[order.contender]
        seen = await hold(checker, order.tokens)
        connection.send(None)
        connection.send(await watch(checker, order.tokens, seen, connection.poll))


def _loop() -> asyncio.AbstractEventLoop:
    """Return a loop that can sleep for less than a millisecond, which epoll cannot."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with (
        Connection(int(sys.argv[1])) as connection,
        asyncio.Runner(loop_factory=_loop) as runner,
    ):
        runner.run(run(connection, *sys.argv[2:5]))
