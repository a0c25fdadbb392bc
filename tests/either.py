"""Both services through one door, so that what is true of the one is shown of the other."""

from __future__ import annotations

import asyncio
import inspect
import time
from math import inf

from keymw.tokens import generate


class Either:
    """A blocking or an asynchronous service, whose methods are awaited in either case."""

    def __init__(self, service):
        self.service = service

    def __getattr__(self, name):
        method = getattr(self.service, name)

        async def call(*args, **kwargs):
            result = method(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return call

    async def close(self):
        await (self.aclose() if hasattr(self.service, "aclose") else self.__getattr__("close")())

    @property
    def deps(self):
        return self.service._deps()

    async def project_key(self, scopes=("endpoint:read",), **options):
        label = f"label {time.monotonic_ns()}"
        return await self.issue_project_key("2", label, scopes, **options)

    async def personal_key(self, user="ann", scopes=("endpoint:read",), **options):
        return await self.issue_personal_key(user, "label", scopes, **options)

    async def reason(self, token):
        """Return why a token is refused, None if it is not."""
        return getattr(await self.verify(token), "reason", None)

    async def listening(self):
        """Wait until the service hears what others change, and believes its caches."""
        await self.verify(generate("phs_"))
        local = self.service._local
        await soon(lambda: self.service._clock.monotonic() < local.fence.until)

    async def believing(self):
        """Have the service believe its caches from now on, however far its clock is moved."""
        await self.listening()
        for source in self.service._sources:
            self.service._local.fence.extend(source, inf)

    async def counted(self, work):
        """Return which counters some work has moved, and by how much."""
        before = self.service.stats()
        await work
        after = self.service.stats()
        names = ("l1_hits", "l1_negative_hits", "l2_hits", "store_reads")
        moved = {name: getattr(after, name) - getattr(before, name) for name in names}
        return {name: count for name, count in moved.items() if count}


async def soon(check, patience=10.0):
    """Wait until `check()` is true; fails when it has not become so."""
    deadline = time.monotonic() + patience
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)
