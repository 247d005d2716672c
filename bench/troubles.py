"""The partners that misbehave: what a healthy partner should not notice."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.receiver import LOOPBACK
from bench.receiver_process import ReceiverProcess
from bench.seed import Group


@dataclass(frozen=True, slots=True)
class Trouble:
    """One partner with `waiting` events in its queue (`quick`: in the quick form) and an endpoint of that mode."""

    name: str
    waiting: int
    quick: int
    mode: str = "ok"
    rate_limit: str = ""

    def group(self, receiver: ReceiverProcess, refusing_port: int) -> Group:
        url = f"http://{LOOPBACK}:{refusing_port}/" if self.mode == "refused" else receiver.url(self.mode, self.name, 0)
        return Group(self.name, [url], rate_limit=self.rate_limit)


TROUBLES = (
    Trouble("refusing", 20_000, 1_000, mode="refused"),
    Trouble("failing", 20_000, 1_000, mode="status-500"),
    Trouble("flood", 50_000, 5_000),
    Trouble("limited", 20_000, 2_000, rate_limit="1/s"),
    Trouble("hanging", 20_000, 1_000, mode="hang-15"),
)


@contextmanager
def refusing() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else takes it, and nobody listens."""
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        yield bound.getsockname()[1]
