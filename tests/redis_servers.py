"""A Redis on a port, and servers that are none: they hang, break off or talk rubbish."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading

from conftest import eventually


class TcpRedis:
    """A redis-server on a free loopback port and on a Unix socket, with options of its own."""

    def __init__(self, folder, *options):
        self.options = options
        self.path = folder / "r.sock"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder

    def __enter__(self):
        self.process = subprocess.Popen(
            [
                *(shutil.which("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--unixsocket", str(self.path), "--save", "", "--dir", str(self.folder)),
                *self.options,
            ],
            stdout=subprocess.DEVNULL,
        )
        eventually(self.answers)
        return f"redis://127.0.0.1:{self.port}", f"unix://{self.path}"

    def answers(self):
        with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
            return not (tcp.connect_ex(("127.0.0.1", self.port)) or unix.connect_ex(str(self.path)))

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait()


class FaultyServer:
    """Accepts whoever comes, and answers each thing it is sent with the same bytes.

    Args:
        reply: the bytes, or what makes them of the thing that was sent; None never answers.
        breaks_off: close the connection after the first reply.
    """

    def __init__(self, reply, *, breaks_off=False):
        self.reply = reply
        self.breaks_off = breaks_off
        self.connections = []

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()
        return f"redis://127.0.0.1:{self.socket.getsockname()[1]}"

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections.append(connection)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError):
            while sent := connection.recv(65536):
                if callable(self.reply):
                    connection.sendall(self.reply(sent))
                elif self.reply is not None:
                    connection.sendall(self.reply)
                if self.breaks_off:
                    connection.shutdown(socket.SHUT_RDWR)

    def __exit__(self, *error):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        for connection in self.connections:
            connection.close()


def redis_4(sent):
    """Answer as Redis 4 does: it knows scripts, but neither `HELLO` nor streams."""
    _, _, name, *rest = sent.split(b"\r\n")
    arguments = b"".join(b"`%s`, " % argument for argument in rest[1::2])
    if name in {b"HELLO", b"XREAD", b"XREVRANGE"}:
        return b"-ERR unknown command `%s`, with args beginning with: %s\r\n" % (name, arguments)
    if b"XADD" in sent:
        return b"-@user_script: 5: Unknown Redis command called from Lua script\r\n"
    if b"SETINFO" in sent:
        return b"-ERR Unknown subcommand or wrong number of arguments for 'setinfo'\r\n"
    return {b"EVAL": b":1\r\n", b"MGET": b"*1\r\n$-1\r\n"}.get(name, b"+OK\r\n")
