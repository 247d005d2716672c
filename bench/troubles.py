"""Troubled partners, which healthy partners should not notice."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.receiver import LOOPBACK
from bench.receiver_process import ReceiverProcess
from bench.seed import Group


@dataclass(frozen=True, slots=True)
class Trouble:
    """Partners whose endpoints misbehave by `mode`, with `waiting` events in their queues.

    `quick` is the number of events in the quick form; 0 leaves the trouble out.
    """

    name: str
    waiting: int
    quick: int
    mode: str = "ok"
    rate_limit: str = ""
    partners: int = 1
    subscriptions: int = 1
    """If more than one, they want the healthy partners' events as well; the peers have no such partners."""

    def group(self, receiver: ReceiverProcess, refusing_port: int) -> Group:
        urls = [receiver.url(self.mode, self.name, number) for number in range(self.partners)]
        if self.mode == "refused":
            urls = [f"http://{LOOPBACK}:{refusing_port}/"]
        return Group(self.name, urls, rate_limit=self.rate_limit, subscriptions=self.subscriptions)


TROUBLES = (
    Trouble("refusing", 20_000, 1_000, mode="refused"),
    Trouble("failing", 20_000, 1_000, mode="status-500"),
    Trouble("flood", 50_000, 5_000),
    Trouble("paced_flood", 50_000, 0, mode="delay-100"),
    Trouble("limited", 20_000, 1_000, rate_limit="1/s"),
    Trouble("hanging", 20_000, 1_000, mode="hang-15"),
    Trouble("ten_hanging", 20_000, 0, mode="hang-15", partners=10),
    Trouble("many_hanging", 20_000, 0, mode="hang-15", partners=300),
    Trouble("many_wanting", 1_000, 0, subscriptions=1_000),
)
"""A flood to an endpoint that answers at once keeps the processors busy. A paced flood, 16 requests at a time to an
endpoint that takes 100 ms, does not: what others notice of it is not a shortage of processors."""


@contextmanager
def refusing() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else takes it, but without a listener."""
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        yield bound.getsockname()[1]
