"""TCP proxies on the loopback interface, one for each worker and server, that can misbehave."""

from __future__ import annotations

import asyncio
import threading


class Wires:
    """The event loop that all proxies run on, in a thread."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies")
        self._thread.start()
        self._proxies = []
        return self

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def call(self, function):
        """Call a function in the event loop; it has been called when this returns."""

        async def call():
            function()

        self.run(call())

    def proxy(self, target):
        """Open a proxy before a Unix socket."""
        proxy = Proxy(self, target)
        self.run(proxy.open())
        self._proxies.append(proxy)
        return proxy

    def __exit__(self, *error):
        for proxy in self._proxies:
            self.run(proxy.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Proxy:
    """Passes everything on until it is told otherwise. Its methods may be called anywhere."""

    def __init__(self, wires, target):
        self._wires = wires
        self._target = target
        self._links = set()
        self._serving = set()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._refuses = False
        self._cuts_streams = False
        self._delay = 0.0

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self):
        self._server.close()
        self._refuses = True
        self._speaks.set()
        self._abort_all()
        if self._serving:
            await asyncio.wait(self._serving)

    def cut(self):
        """Break all connections, and each new one at once."""
        self._refuses = True
        self._wires.call(self._abort_all)

    def silence(self):
        """Pass nothing on, and hang up on nobody."""
        self._wires.call(self._speaks.clear)

    def delay(self, seconds):
        """Keep each reply for so long."""
        self._delay = seconds

    def cut_streams(self):
        """Lose the next message to the worker, with the connection on which it waits for it."""
        self._cuts_streams = True

    def mend(self):
        """Be a good proxy again. What was held back is passed on now."""
        self._refuses, self._cuts_streams, self._delay = False, False, 0.0
        self._wires.call(self._speaks.set)

    def _abort_all(self):
        for link in tuple(self._links):
            link.abort()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._serving.add(task)
        link = _Link(writer)
        self._links.add(link)
        try:
            await self._pass_on(link, reader)
        except OSError:  # the server is gone, or one of the two has hung up
            pass
        finally:
            link.abort()
            self._links.discard(link)
            self._serving.discard(task)

    async def _pass_on(self, link, reader):
        if self._refuses:
            return
        await self._speaks.wait()
        replies, link.server = await asyncio.open_unix_connection(self._target)
        if link.ended:
            return
        there = asyncio.ensure_future(self._pump(link, reader, link.server, replies=False))
        back = asyncio.ensure_future(self._pump(link, replies, link.client, replies=True))
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        link.abort()
        await asyncio.gather(there, back, return_exceptions=True)

    async def _pump(self, link, source, sink, *, replies):
        while True:
            data = await source.read(65536)
            if not replies:
                link.look(data)
            elif self._cuts_streams and link.is_stream:
                return
            elif self._delay:
                await asyncio.sleep(self._delay)
            await self._speaks.wait()
            if not data:
                return
            sink.write(data)
            await sink.drain()


class _Link:
    """One connection through a proxy."""

    def __init__(self, client):
        self.client = client
        self.server = None
        self.is_stream = False
        self.ended = False

    def look(self, data):
        """Tell the connection that waits for changes by the command it waits with."""
        if b"XREAD" in data:
            self.is_stream = True

    def abort(self):
        self.ended = True
        for end in (self.client, self.server):
            if end is not None:
                end.transport.abort()
