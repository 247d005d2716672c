"""Troubled partners, which healthy partners should not notice."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bench.receiver_process import ReceiverProcess
from bench.seed import Group
from recart_hooks.ports import LOOPBACK

_HELLO_REQUEST = b"\x16\x03\x03\x00\x04\0\0\0\0"


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
    at_once: bool = False
    """The events are published all at once when the measurement has begun, not before it; not for the peers."""

    @property
    def is_for_peers(self) -> bool:
        return self.subscriptions == 1 and not self.at_once

    def group(self, receiver: ReceiverProcess, others: Mapping[str, str]) -> Group:
        """`others`: the URLs of the modes that are not the receiver's."""
        urls = [receiver.url(self.mode, self.name, number) for number in range(self.partners)]
        if self.mode in others:
            urls = [others[self.mode]]
        return Group(self.name, urls, rate_limit=self.rate_limit, subscriptions=self.subscriptions)


REFUSED, HANDSHAKE = "refused", "handshake"
TROUBLES = (
    Trouble("refusing", 20_000, 1_000, mode=REFUSED),
    Trouble("failing", 20_000, 1_000, mode="status-500"),
    Trouble("gone", 20_000, 0, mode="status-410"),
    Trouble("flood", 50_000, 5_000),
    Trouble("paced_flood", 50_000, 0, mode="delay-100"),
    Trouble("limited", 20_000, 1_000, rate_limit="1/s"),
    Trouble("hanging", 20_000, 1_000, mode="hang-15"),
    Trouble("ten_hanging", 20_000, 0, mode="hang-15", partners=10),
    Trouble("many_hanging", 20_000, 0, mode="hang-15", partners=300),
    Trouble("handshake", 1_000, 300, mode=HANDSHAKE),
    Trouble("many_wanting", 1_000, 0, subscriptions=1_000),
    Trouble("campaign", 20_000, 0, partners=200, at_once=True),
)
"""A flood to an endpoint that answers at once keeps the processors busy. A paced flood, 16 requests at a time to an
endpoint that takes 100 ms, does not: what others notice of it is not a shortage of processors. An endpoint that is gone
has its subscription disabled, and all that waits for it ends dead."""


@contextmanager
def other_urls() -> Iterator[dict[str, str]]:
    """The endpoints that are not the receiver's.

    One is bound, so that nobody else takes its port, but does not listen. One never ends a TLS handshake: it repeats a
    message that OpenSSL skips, faster than OpenSSL reads it.
    """
    with socket.socket() as bound, socket.create_server((LOOPBACK, 0)) as listening:
        bound.bind((LOOPBACK, 0))
        threading.Thread(target=_accept, args=(listening,), daemon=True).start()
        ports = {REFUSED: bound.getsockname()[1], HANDSHAKE: listening.getsockname()[1]}
        yield {REFUSED: f"http://{LOOPBACK}:{ports[REFUSED]}/", HANDSHAKE: f"https://{LOOPBACK}:{ports[HANDSHAKE]}/"}


def _accept(listening: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_repeat, args=(connection,), daemon=True).start()


def _repeat(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        connection.recv(10_000)
        while True:
            connection.sendall(_HELLO_REQUEST * 1_000)
