"""One request to the receiver, and ways to answer it well or badly."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_RECEIVE_BYTES = 65536
_HEAD_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One complete request."""

    method: str
    path: str
    """As in the request line, with the query."""
    header_lines: tuple[tuple[str, str], ...]
    """As received, with order, capitals and repetitions."""
    body: bytes
    arrived_at: float
    """time.monotonic() when the body was complete."""
    connection: int
    """The number of the receiver's connection, from 1."""

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.header_lines}

    @property
    def webhook_id(self) -> str:
        return self.headers.get("webhook-id", "")


class Exchange:
    """One request and the connection to answer it on. `keep` says whether the connection stays open afterwards."""

    def __init__(
        self, connection: socket.socket, request: Received, attempt: int, ordinal: int, stopping: threading.Event
    ):
        self.connection = connection
        self.request = request
        self.attempt = attempt
        """How often this webhook id was sent to this path, including this time."""
        self.ordinal = ordinal
        """The number of this webhook id among the distinct ones of this path, from 1."""
        self.keep = True
        self._stopping = stopping

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, status: int = 200, headers: Sequence[tuple[str, str]] = (), body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers)]
        if not {name.lower() for name, _ in headers} & {"content-length", "transfer-encoding"}:
            lines.append(f"content-length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def drip(self, pieces: Iterator[bytes], every_s: float) -> None:
        """Sends piece after piece until the client goes away or the receiver is closed."""
        for piece in pieces:
            self.send(piece)
            if self._stopping.wait(every_s):
                break

    def hang(self) -> None:
        """Waits until the client goes away."""
        while self.connection.recv(_RECEIVE_BYTES):
            pass
        self.keep = False

    def wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def close(self) -> None:
        self.keep = False

    def half_close(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN."""
        self.keep = False
        reset(self.connection)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_request(connection: socket.socket, pending: bytes, number: int) -> tuple[Received, bytes] | None:
    """The next request and the bytes after it. None at the end of the connection, or if the head is too large.

    Raises ValueError if the bytes are not HTTP.
    """
    while b"\r\n\r\n" not in pending:
        data = connection.recv(_RECEIVE_BYTES)
        if not data or len(pending) > _HEAD_MAX_BYTES:
            return None
        pending += data
    head, _, body = pending.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    header_lines = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = int(next((value for name, value in header_lines if name.lower() == "content-length"), "0"))
    pieces, missing = [body], length - len(body)
    while missing > 0:
        data = connection.recv(_RECEIVE_BYTES)
        if not data:
            return None
        pieces.append(data)
        missing -= len(data)
    body = b"".join(pieces)
    request = Received(method, path, header_lines, body[:length], time.monotonic(), number)
    return request, body[length:]


Behaviour = Callable[[Exchange], None]
"""Answers one request, or does not answer it."""
