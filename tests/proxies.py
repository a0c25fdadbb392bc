"""A proxy before PostgreSQL that can fall silent without hanging up."""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import threading
from pathlib import Path


class Proxy:
    """Passes everything on while its gate is open, and holds everything back while it is not."""

    def __init__(self, folder, target):
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._sockets = []
        self._falls_silent_in = None
        self._hangs_up = False
        #: Connections so far.
        self.accepted = 0
        #: What clients have sent: one for each time that they spoke.
        self.sent = 0
        self._listener = self._keep(socket.socket(socket.AF_UNIX))
        self._listener.bind(f"{folder}/.s.PGSQL.5432")
        self._listener.listen(64)
        self._threads = []
        self._start(self._accept)

    def silence(self, after=0):
        """Fall silent: at once, or when clients have spoken `after` times more."""
        if after:
            self._falls_silent_in = after
        else:
            self._open.clear()

    def hang_up(self):
        """From now on pass on what clients say, and hang up where they wait for the answer."""
        self._hangs_up = True

    def speak(self):
        self._falls_silent_in = None
        self._hangs_up = False
        self._open.set()

    def close(self):
        self.speak()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _start(self, function, *args):
        thread = threading.Thread(target=function, args=args)
        self._threads.append(thread)
        thread.start()

    def _keep(self, opened):
        self._sockets.append(opened)
        return opened

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._keep(self._listener.accept()[0])
                self.accepted += 1
                self._open.wait()
                server = self._keep(socket.socket(socket.AF_UNIX))
                server.connect(self._target)
                self._start(self._pass_on, client, server, self._count)
                self._start(self._pass_on, server, client, self._hang_up_perhaps)

    def _count(self):
        with self._lock:
            self.sent += 1
            if self._falls_silent_in is not None:
                self._falls_silent_in -= 1
                if self._falls_silent_in == 0:
                    self._open.clear()

    def _hang_up_perhaps(self):
        if self._hangs_up:
            raise ConnectionAbortedError

    def _pass_on(self, source, sink, note):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                note()
                self._open.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def silent_proxy(url):
    """Run a proxy before a PostgreSQL on a Unix socket; gives it and the URL through it."""
    behind = re.search(r"host=([^&]+)", url).group(1)
    with tempfile.TemporaryDirectory(prefix="kx") as folder:
        proxy = Proxy(Path(folder), f"{behind}/.s.PGSQL.5432")
        try:
            yield proxy, url.replace(behind, folder)
        finally:
            proxy.close()
