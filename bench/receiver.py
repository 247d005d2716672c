"""The partners' endpoints: an HTTP receiver in a process of its own that records when each POST arrived.

It shares the machine with the system under test, so it does as little as it can: one event loop, no HTTP library,
persistent connections, and records that are evaluated only on request. `bench.receiver_process.ceiling` measures how
many POSTs it takes per second of CPU.

The path selects the behaviour and the group under which the POST is counted: `/ok/<group>/<endpoint>` answers 204 at
once, `/delay-50/…` after 50 ms, `/hang-15/…` after 15 s, `/status-500/…` with that status. The marker in the body
(bench.payloads) holds the event's number and its scheduled time.
"""

import argparse
import heapq
import json
import re
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.payloads import MARKER, MARKER_LENGTH, read_marker
from recart_hooks.ports import LOOPBACK

_RECEIVE_BYTES = 262_144
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODE = re.compile(r"(ok|delay|hang|status)(?:-(\d+))?")


@dataclass(slots=True)
class Endpoint:
    """One path: its answer, and its arrivals as (nanoseconds since 1970, marker)."""

    group: str
    answer: bytes
    delay_s: float
    arrivals: list[tuple[int, bytes]] = field(default_factory=list)


def endpoint_of(path: str) -> Endpoint:
    """The endpoint of a path. Raises ValueError for an unknown path."""
    mode, _, rest = path.lstrip("/").partition("/")
    known = _MODE.fullmatch(mode)
    if known is None:
        raise ValueError(f"unknown mode in {path!r}")
    number = int(known[2] or 0)
    delay_s = {"delay": number / 1000, "hang": float(number)}.get(known[1], 0.0)
    return Endpoint(rest.partition("/")[0], _answer(number if known[1] == "status" else 204), delay_s)


def _answer(status: int, body: bytes = b"") -> bytes:
    length = b"" if status == 204 else b"content-length: %d\r\n" % len(body)
    return b"HTTP/1.1 %d Answer\r\n%b\r\n%b" % (status, length, body)


class Connection:
    """One client. `incoming` holds the part of an incomplete request that has arrived."""

    __slots__ = ("incoming", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.incoming = b""

    def answer(self, content: bytes) -> None:
        """Sends without waiting; closes a connection whose client is gone or does not read."""
        try:
            self.socket.send(content)
        except OSError:
            self.socket.close()


class Receiver:
    def __init__(self, ports: int = 1) -> None:
        self._selector = selectors.DefaultSelector()
        self._listeners = [socket.create_server((LOOPBACK, 0), backlog=4096) for _ in range(ports)]
        for listener in self._listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, None)
        self._endpoints: dict[bytes, Endpoint] = {}
        self._later: list[tuple[float, int, Connection, bytes]] = []
        self._serial = 0

    @property
    def ports(self) -> list[int]:
        return [listener.getsockname()[1] for listener in self._listeners]

    def serve(self) -> None:
        """Serves until the process is killed."""
        while True:
            timeout = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
            for key, _ in self._selector.select(timeout):
                if key.data is None:
                    self._accept(key.fileobj)  # type: ignore[arg-type]  # a listener, registered above
                else:
                    self._read(key.data)
            while self._later and self._later[0][0] <= time.monotonic():
                _, _, connection, answer = heapq.heappop(self._later)
                connection.answer(answer)

    def _accept(self, listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(accepted, selectors.EVENT_READ, Connection(accepted))

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            return
        if connection.incoming:
            data = connection.incoming + data
        while data and (end := _request_end(data)):
            self._handle(connection, data[:end])
            data = data[end:]
        connection.incoming = data

    def _handle(self, connection: Connection, request: bytes) -> None:
        now = time.time_ns()
        target = request[: request.find(b" HTTP/")]
        endpoint = self._endpoints.get(target)
        if endpoint is None:
            if target.startswith(b"GET "):
                connection.answer(self._control(target[4:].decode()))
                return
            endpoint = self._endpoints[target] = endpoint_of(target.removeprefix(b"POST ").decode())
        at = request.find(MARKER)
        endpoint.arrivals.append((now, request[at : at + MARKER_LENGTH]))
        if endpoint.delay_s:
            self._serial += 1
            due = (time.monotonic() + endpoint.delay_s, self._serial, connection, endpoint.answer)
            heapq.heappush(self._later, due)
        else:
            connection.answer(endpoint.answer)

    def _control(self, target: str) -> bytes:
        """Answers `/count`, `/report?<from>` (without events whose number is below <from>) and `/reset`."""
        path, _, query = target.partition("?")
        reply: Any = None
        if path == "/count":
            counts: Counter[str] = Counter()
            for endpoint in self._endpoints.values():
                counts[endpoint.group] += len(endpoint.arrivals)
            reply = counts
        elif path == "/report":
            reply = self._report(int(query or 0))
        elif path == "/reset":
            self._endpoints.clear()
        return _answer(200, json.dumps(reply).encode())

    def _report(self, from_number: int) -> dict[str, Any]:
        by_group: dict[str, list[Endpoint]] = {}
        for endpoint in self._endpoints.values():
            by_group.setdefault(endpoint.group, []).append(endpoint)
        return {
            "cpu_s": time.process_time(),
            "groups": {group: _summary(endpoints, from_number) for group, endpoints in by_group.items()},
        }


def _request_end(data: bytes) -> int:
    """Where the first request in `data` ends; 0 if it is incomplete."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    length = CONTENT_LENGTH.search(data, 0, head)
    end = head + 4 + (int(length[1]) if length else 0)
    return end if end <= len(data) else 0


def _summary(endpoints: Sequence[Endpoint], from_number: int) -> dict[str, Any]:
    """Summarizes a group's POSTs: how many, how many repeated, first and last, latencies."""
    times: list[int] = []
    latencies_ms: list[float] = []
    repeated = 0
    for endpoint in endpoints:
        seen: set[int] = set()
        for arrived_ns, marker in endpoint.arrivals:
            number, scheduled_ns = read_marker(marker)
            if number < from_number:
                continue
            if number in seen:
                repeated += 1
                continue
            seen.add(number)
            times.append(arrived_ns)
            latencies_ms.append((arrived_ns - scheduled_ns) / 1e6)
    return {
        "delivered": len(times),
        "repeated": repeated,
        "first_ns": min(times, default=0),
        "last_ns": max(times, default=0),
        "latencies_ms": latencies_ms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.receiver", description=__doc__.partition("\n")[0])
    parser.add_argument("--ports", type=int, default=1, help="number of free ports to listen on")
    receiver = Receiver(parser.parse_args().ports)
    sys.stdout.write(json.dumps(receiver.ports) + "\n")
    sys.stdout.flush()
    receiver.serve()


if __name__ == "__main__":
    main()
