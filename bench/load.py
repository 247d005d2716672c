"""The load generator: publishes events to NATS JetStream, or to a peer's HTTP API, in a process of its own.

The load is an open loop: event number n is due at start + n/rate whatever happened to those before it, and its marker
holds that time, so a stall anywhere shows as latency. Without a rate, events are published as fast as they are taken.

The few lines of the NATS protocol are written here, at 10 µs of CPU per event: a client library takes 70 to 110 µs,
which would disturb the measurement. JetStream stores a connection's messages in order, so one acknowledgement covers
all messages before it. The last event asks for one, and without a rate every `WINDOW`-th. At the end the number of
events is compared with the stream's own count.

Peers with an HTTP API get each event in a request of its own, over `CONNECTIONS` persistent connections.
"""

import argparse
import asyncio
import json
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from urllib.parse import urlsplit

import nats

from bench.measures import percentile
from bench.payloads import order
from bench.receiver import CONTENT_LENGTH

WINDOW = 500
CONNECTIONS = 32
_INBOX = b"bench-acknowledgements"


@dataclass(frozen=True, slots=True)
class Load:
    """`subjects` are used in turn. `rate` is in events per second; 0: as fast as possible.

    Over HTTP a subject is the path, a space, and the beginning of the body; event data and `}` complete the body.
    """

    subjects: Sequence[str]
    events: int
    rate: float = 0.0
    size: int = 1024
    first_number: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """The result of publishing. `late_p99_ms` is how far the publisher itself was behind its schedule."""

    events: int
    seconds: float
    late_p99_ms: float
    cpu_s: float


class Publisher:
    """One connection to NATS. Every method may raise OSError."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "localhost", parts.port or 4222), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming = self._socket.makefile("rb")
        self._incoming.readline()  # INFO
        self._socket.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %b 1\r\n' % _INBOX)

    def publish(self, subject: str, data: bytes) -> None:
        self._socket.sendall(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(data), data))

    def publish_and_wait(self, subject: str, data: bytes) -> None:
        """Returns when JetStream has stored this event, and so all before it. Raises RuntimeError if it refuses."""
        self._socket.sendall(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), _INBOX, len(data), data))
        while not (line := self._incoming.readline()).startswith(b"MSG"):
            if line.startswith(b"PING"):
                self._socket.sendall(b"PONG\r\n")
            elif not line or line.startswith(b"-ERR"):
                raise RuntimeError(f"NATS: {line!r}")
        answer = json.loads(self._incoming.readline())
        if "error" in answer:
            raise RuntimeError(f"JetStream: {answer['error']}")

    def close(self) -> None:
        self._incoming.close()
        self._socket.close()


def publish(nats_url: str, load: Load) -> Published:
    """Raises OSError, and RuntimeError if JetStream did not store every event."""
    kept_before = asyncio.run(kept(nats_url, load.subjects))
    publisher = Publisher(nats_url)
    done = _timed(partial(_publish_all, publisher), load)
    publisher.close()
    kept_now = asyncio.run(kept(nats_url, load.subjects)) - kept_before
    if kept_now != load.events:
        raise RuntimeError(f"JetStream kept {kept_now} of {load.events} events")
    return done


def _publish_all(publisher: Publisher, load: Load, start_ns: int) -> list[float]:
    payload = order(load.size)
    late_ms: list[float] = []
    for index in range(load.events):
        due_ns = start_ns + int(index * 1e9 / load.rate) if load.rate else time.time_ns()
        if (wait_ns := due_ns - time.time_ns()) > 0:
            time.sleep(wait_ns / 1e9)
        late_ms.append((time.time_ns() - due_ns) / 1e6)
        subject = load.subjects[index % len(load.subjects)]
        data = payload.fill(load.first_number + index, due_ns)
        if index + 1 == load.events or (not load.rate and index % WINDOW == WINDOW - 1):
            publisher.publish_and_wait(subject, data)
        else:
            publisher.publish(subject, data)
    return late_ms


class HttpPublisher:
    """Posts events to `http://<token>@<host>:<port>`. Each answer acknowledges one event. May raise OSError."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        address = (parts.hostname or "localhost", parts.port or 80)
        self._head = f"authorization: Bearer {parts.username}\r\nhost: {address[0]}\r\ncontent-type: application/json"
        self._selector = selectors.DefaultSelector()
        self._free = deque(socket.create_connection(address, timeout=60) for _ in range(CONNECTIONS))
        for one in self._free:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(one, selectors.EVENT_READ)

    def publish_all(self, load: Load, start_ns: int) -> list[float]:
        """How late each event was sent, in milliseconds. Raises RuntimeError if one is refused."""
        payload = order(load.size)
        late_ms: list[float] = []
        for index in range(load.events):
            due_ns = start_ns + int(index * 1e9 / load.rate) if load.rate else 0
            while (wait_ns := due_ns - time.time_ns()) > 0 or not self._free:
                self._read_answers(max(0.0, wait_ns / 1e9) if self._free else None)
            late_ms.append((time.time_ns() - due_ns) / 1e6 if due_ns else 0.0)
            path, _, begin = load.subjects[index % len(load.subjects)].partition(" ")
            body = b"%b%b}" % (begin.encode(), payload.fill(load.first_number + index, due_ns or time.time_ns()))
            request = f"POST {path} HTTP/1.1\r\n{self._head}\r\ncontent-length: {len(body)}\r\n\r\n"
            self._free.popleft().sendall(request.encode() + body)
        while len(self._free) < CONNECTIONS:
            self._read_answers(None)
        return late_ms

    def _read_answers(self, timeout_s: float | None) -> None:
        for key, _ in self._selector.select(timeout_s):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            answer = b""
            while not _is_complete(answer) and (more := connection.recv(65536)):
                answer += more
            if not answer.startswith(b"HTTP/1.1 2"):
                raise RuntimeError(f"an event was refused: {answer[:500]!r}")
            self._free.append(connection)

    def close(self) -> None:
        self._selector.close()
        for one in self._free:
            one.close()


def _is_complete(answer: bytes) -> bool:
    """Whether the whole answer has been read, by its content-length or its last chunk."""
    head = answer.find(b"\r\n\r\n")
    if head >= 0 and (length := CONTENT_LENGTH.search(answer, 0, head)):
        return len(answer) >= head + 4 + int(length[1])
    return answer.endswith(b"\r\n0\r\n\r\n")


def publish_over_http(url: str, load: Load) -> Published:
    """Raises OSError, and RuntimeError if an event is refused."""
    publisher = HttpPublisher(url)
    done = _timed(publisher.publish_all, load)
    publisher.close()
    return done


def _timed(publish_all: Callable[[Load, int], list[float]], load: Load) -> Published:
    start_ns, cpu = time.time_ns(), time.process_time()
    late_ms = sorted(publish_all(load, start_ns))
    seconds = (time.time_ns() - start_ns) / 1e9
    return Published(load.events, seconds, percentile(late_ms, 0.99), time.process_time() - cpu)


async def kept(nats_url: str, subjects: Sequence[str]) -> int:
    """How many messages of these subjects their stream holds. Others may be published at the same time."""
    client = await nats.connect(nats_url)
    try:
        stream = client.jetstream(timeout=60)
        name = await stream.find_stream_name_by_subject(subjects[0])
        found = (await stream.stream_info(name, subjects_filter=">")).state.subjects or {}
        return sum(found.get(subject, 0) for subject in set(subjects))
    finally:
        await client.close()


def main() -> None:
    """Reads the load as JSON from standard input and writes the result as JSON to standard output."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="nats://… or http://…")
    options = parser.parse_args()
    load = Load(**json.load(sys.stdin))
    publish_to = publish_over_http if options.url.startswith("http:") else publish
    sys.stdout.write(json.dumps(asdict(publish_to(options.url, load))) + "\n")


if __name__ == "__main__":
    main()
