"""Bytes to a server and back: nothing between a case and the wire that would mend either."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from dataclasses import dataclass
from typing import Self

#: Seconds until a server that neither says anything nor closes is left.
PATIENCE = 10.0

_HEAD = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n(.*?\r\n)?\r\n", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def outcome(self) -> str:
        """Who answered what: a bare number is keymw's refusal, a name is whom the app saw."""
        if b"x-answered-by" in self.fields:
            return self.body.decode() if self.status == 200 else f"{self.status} app"
        if self.fields.get(b"content-type") != b"application/problem+json":
            return f"{self.status} server"
        if self.body and json.loads(self.body)["status"] != self.status:
            return f"{self.status} with another body"
        return str(self.status)


def _chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    """Return a chunked body, decoded, and what follows it; None if it has not ended."""
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        length = int(size, 16)
        if len(rest) < length + 2:
            return None
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest


def first_answer(data: bytes, *, head: bool, ended: bool) -> tuple[Answer, bytes] | None:
    """Return the first answer in what was received and what follows it; None if it is not whole."""
    match = _HEAD.match(data)
    if match is None:
        return None
    status, rest = int(match[1]), data[match.end() :]
    pairs = (line.split(b":", 1) for line in (match[2] or b"").split(b"\r\n") if line)
    fields = {name.strip().lower(): value.strip() for name, value in pairs}
    if head or status == 101:
        return Answer(status, fields, b""), rest
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        found = _chunks(rest)
    elif b"content-length" in fields:
        length = int(fields[b"content-length"])
        found = (rest[:length], rest[length:]) if len(rest) >= length else None
    else:
        found = (rest, b"") if ended else None
    return None if found is None else (Answer(status, fields, found[0]), found[1])


def _frame(data: bytes) -> str | None:
    """Return what the first frame of a WebSocket says (RFC 6455 §5.2); None if it is not whole."""
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    payload = data[2 : 2 + data[1]]
    if data[0] & 0x0F == 8:
        return f"close {int.from_bytes(payload[:2])}"
    return payload.decode()


class Wire:
    """One connection."""

    def __init__(self, port: int, *, head: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._head = head
        self._data = b""
        self._ended = False
        #: Whether the server has said that it reads no more.
        self.closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send; a server that has had enough may have closed."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            self._socket.sendall(data)

    def _receive(self) -> bool:
        """Wait for more; say whether there may be more still."""
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return False
        except ConnectionError:
            data = b""
        self._data += data
        self._ended = not data
        return bool(data)

    def answer(self) -> str:
        """Return the outcome of the next answer, waiting for it."""
        while True:
            found = first_answer(self._data, head=self._head, ended=self._ended)
            if found is not None:
                answer, self._data = found
                self.closing = answer.fields.get(b"connection", b"").lower() == b"close"
                return self._message() if answer.status == 101 else answer.outcome
            if self._ended:
                return f"{len(self._data)} odd bytes" if self._data else "closed"
            if not self._receive() and not self._ended:
                return "silent"

    def _message(self) -> str:
        """Return what the first message of a WebSocket says."""
        while (said := _frame(self._data)) is None:
            if self._ended or not self._receive():
                return "accepted, closed"
        self._data, self._ended = b"", True  # what follows is of no interest
        return said

    def rest(self) -> list[str]:
        """Return the outcomes of what comes beyond what was asked for."""
        while not self._ended and self._receive():
            pass
        more = []
        while self._data:
            more.append(self.answer())
            if more[-1].endswith("odd bytes") or more[-1] == "silent":
                break
        return more
