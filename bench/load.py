"""The platform: publishes events to NATS JetStream, in a process of its own.

Open loop: event number n is due at start + n/rate whatever became of those before it, and its marker holds that time,
so a stall anywhere shows as latency. With no rate, as fast as JetStream takes them.

It speaks the few lines of the NATS protocol itself, 10 µs of CPU an event: a client library costs 70 to 110 µs here,
which would disturb what is measured. Each `WINDOW`-th event asks for JetStream's acknowledgement; a connection's
messages are stored in order, so that one stands for all before it, and at the end the stream's own count is compared.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import nats

from bench.measures import percentile
from bench.payloads import order

WINDOW = 500
_INBOX = b"bench-acknowledgements"


@dataclass(frozen=True, slots=True)
class Load:
    """`subjects` are taken in turn. `rate` in events per second; 0: as fast as possible."""

    subjects: Sequence[str]
    events: int
    rate: float = 0.0
    size: int = 1024
    first_number: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """How the publishing went; `late_p99_ms` is how far behind its schedule it was itself."""

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
        """Returns when JetStream has it, and so all before it. Raises RuntimeError when it refuses."""
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
    """Raises OSError, and RuntimeError when JetStream did not keep everything."""
    kept_before = asyncio.run(kept(nats_url, load.subjects[0]))
    publisher = Publisher(nats_url)
    start_ns, cpu = time.time_ns(), time.process_time()
    late_ms = sorted(_publish_all(publisher, load, start_ns))
    done = Published(
        load.events, (time.time_ns() - start_ns) / 1e9, percentile(late_ms, 0.99), time.process_time() - cpu
    )
    publisher.close()
    kept_now = asyncio.run(kept(nats_url, load.subjects[0])) - kept_before
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


async def kept(nats_url: str, subject: str) -> int:
    """How many messages the stream of this subject holds."""
    client = await nats.connect(nats_url)
    try:
        stream = client.jetstream(timeout=60)
        return (await stream.stream_info(await stream.find_stream_name_by_subject(subject))).state.messages
    finally:
        await client.close()


def main() -> None:
    """The load as JSON on standard input, the result as JSON on standard output."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__.partition("\n")[0])
    parser.add_argument("nats_url")
    options = parser.parse_args()
    load = Load(**json.load(sys.stdin))
    sys.stdout.write(json.dumps(asdict(publish(options.nats_url, load))) + "\n")


if __name__ == "__main__":
    main()
