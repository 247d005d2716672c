"""Runs bench.receiver as a process and reads its records."""

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from bench.payloads import order
from recart_hooks.ports import LOOPBACK
from recart_hooks.processes import Process
from recart_hooks.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Arrived:
    """What one group of endpoints received; times in seconds since 1970."""

    delivered: int
    repeated: int
    first_at: float
    last_at: float
    latencies_ms: Sequence[float]


NOTHING = Arrived(0, 0, 0.0, 0.0, ())


class ReceiverProcess:
    """A context manager. `ports[0]` also answers control requests."""

    def __init__(self, ports: int = 1) -> None:
        readable, writable = os.pipe()
        command = [sys.executable, "-m", "bench.receiver", "--ports", str(ports)]
        try:
            self._process = Process(command, output=writable)
        finally:
            os.close(writable)
        with open(readable, "rb") as output:
            self.ports: list[int] = json.loads(output.readline())

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def url(self, mode: str, group: str, endpoint: int) -> str:
        """The address of one endpoint; endpoints are spread over the ports."""
        return f"http://{LOOPBACK}:{self.ports[endpoint % len(self.ports)]}/{mode}/{group}/{endpoint}"

    def counts(self) -> dict[str, int]:
        """Number of POSTs by group, including repeated ones."""
        return dict(self._ask("/count"))

    def arrived(self, from_number: int = 0) -> dict[str, Arrived]:
        """What arrived, by group, without events whose number is below `from_number`."""
        groups = self._ask(f"/report?{from_number}")["groups"]
        return {
            name: Arrived(
                one["delivered"], one["repeated"], one["first_ns"] / 1e9, one["last_ns"] / 1e9, one["latencies_ms"]
            )
            for name, one in groups.items()
        }

    def cpu_s(self) -> float:
        return float(self._ask("/report?0")["cpu_s"])

    def reset(self) -> None:
        """Forgets all arrivals."""
        self._ask("/reset")

    def wait_for(self, group: str, count: int, patience_s: float) -> bool:
        """Whether `count` POSTs reached the group in time."""
        return wait_until(lambda: self.counts().get(group, 0) >= count, patience_s)

    def _ask(self, path: str) -> Any:
        connection = http.client.HTTPConnection(LOOPBACK, self.ports[0], timeout=60)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def ceiling(receiver: ReceiverProcess) -> float:
    """POSTs of 1 KB that the receiver takes per second of its CPU time: its rate with a core of its own."""
    body = order(1024).fill(0, time.time_ns())
    request = b"POST /ok/ceiling/0 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    sockets = [socket.create_connection((LOOPBACK, receiver.ports[0])) for _ in range(16)]
    before, posts, end = receiver.cpu_s(), 0, time.monotonic() + 1.0
    while time.monotonic() < end:
        for one in sockets:
            one.sendall(request)
        for one in sockets:
            one.recv(4096)
        posts += len(sockets)
    used = receiver.cpu_s() - before
    for one in sockets:
        one.close()
    receiver.reset()
    return posts / used
