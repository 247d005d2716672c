"""The leases of one consumer of this process. They outlive its connections: whatever becomes of those, a message that
was fetched is being worked on until it is settled, and what was settled is told to the server until it has heard it.

Requests to the server are numbered. The answer of a request that never came may have leased messages that nobody here
knows of, so the next request says from which number on nothing was heard, and the server takes those leases back. On a
new connection that is the first of all, with all that is held: a server that comes back without its last second, or a
replica that took its place, has leases of messages that were settled long ago.
"""

import itertools
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any

from delivery.broker.received import Lease
from delivery.broker.scripts import Scripts

MOST_SETTLED = 500
"""As many settlements as one request carries."""

_consumers = itertools.count()

Settled = tuple[str, Lease]
"""What became of a message (as lua/exchange.lua calls it), and which."""


def seconds() -> float:
    """A clock that goes on while this process, or the whole machine, is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Leases:
    """`settle` from any thread; requests from one thread at a time. `trust_s`: how old an answer may be when it is read
    (the leases in an older one may have been given away meanwhile)."""

    def __init__(self, scripts: Scripts, trust_s: float) -> None:
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns():x}:{next(_consumers)}".replace(" ", "-")
        self.scripts = scripts
        self.held: dict[Lease, None] = {}
        self.stays_until_exit = False
        """The worker is stopping, tasks are running: what is held then goes back when the process ends, not earlier."""
        self.is_awaited = False
        """By the last answer: a queue at its cap waits for something that is held here."""
        self.trust_s = trust_s
        self._settled: deque[Settled] = deque()
        self._sent: list[Settled] = []
        self._number = 0
        self._sent_at = 0.0
        self._lost_since: int | None = None
        self._tells_of_lost = False
        """Whether the last request does."""
        self._has_told = False
        self._tell = self._tell_by_default = _nobody
        self._flushed: list[Settled] = []
        self._flushing = threading.Lock()
        self._moving = threading.Lock()
        """While a lease changes its place: one that is in none would be taken for lost."""

    # Holding

    def hold(self, queue: str, id: bytes) -> Lease:
        """A message of the last answer is here."""
        lease = Lease(queue, id, self._number)
        self.held[lease] = None
        return lease

    def settle(self, lease: Lease, how: str = "ack") -> None:
        """Ends a lease; the server hears of it soon. The second time does nothing."""
        with self._moving:
            if lease not in self.held:
                return
            del self.held[lease]
            self._settled.append((how, lease))
        if not self._has_told:
            self._has_told = True
            self._tell()

    def put_off(self, lease: Lease, delay_s: float) -> None:
        """It comes again after so many seconds."""
        self.settle(lease, str(max(delay_s, 0.0)))

    def give_back(self, leases: Iterable[Lease]) -> None:
        """To the heads of their queues, in the order in which they were fetched."""
        for lease in reversed(list(leases)):
            self.settle(lease, "head")

    # Talking to the server

    def tell(self, speaker: Callable[[], None] | None, by_default: Callable[[], None] | None = None) -> None:
        """Who is told, from any thread, that there is something to say to the server; None: who does it by default."""
        self._tell_by_default = by_default or self._tell_by_default
        self._tell = speaker or self._tell_by_default
        if self.has_news:
            self._tell()

    @property
    def has_news(self) -> bool:
        return self.has_settled or self.has_lost

    @property
    def has_settled(self) -> bool:
        """Whether something was settled and is not told yet."""
        return bool(self._settled)

    @property
    def has_lost(self) -> bool:
        """Whether nobody knows what the server did of a request."""
        return self._lost_since is not None

    def request(self, room: int, open_room: int, *, reports: bool = True) -> tuple[Any, ...]:
        """The arguments of the next request, for exchange.lua. `answered`, `refused` or `unanswered` has to follow.

        One that waits behind a bell does not report what was settled: that would be heard late.
        """
        self._number += 1
        self._sent_at = seconds()
        self._sent = self.take_settled() if reports else []
        lost = "" if self._lost_since is None else self._lost_since
        self._tells_of_lost = self.has_lost
        told = [*self._sent, *self._has()] if self.has_lost else self._sent
        return (self.worker, self._number, room, open_room, lost, *_flat(told))

    def _has(self) -> list[Settled]:
        """What is here, or was settled and is not told yet."""
        with self._moving:
            leases = [*self.held, *(lease for _, lease in [*self._settled, *self._flushed])]
        return [("has", lease) for lease in leases]

    def answered(self) -> bool:
        """False when the answer is too old to be trusted: then it counts as lost."""
        if seconds() - self._sent_at > self.trust_s:
            self.unanswered()
            return False
        self._sent = []
        if self._tells_of_lost:
            self._lost_since = None
        return True

    def refused(self) -> None:
        """The server did nothing of what was asked."""
        self.put_back(self._sent)
        self._sent = []

    def doubt(self) -> None:
        """This is a new connection, perhaps to a server that does not know all that was said to the last one."""
        if self._number:
            self._lost_since = 0

    def unanswered(self) -> None:
        """Nobody knows what the server did: settle again, and take back what was leased."""
        self.refused()
        if self._lost_since is None:
            self._lost_since = self._number

    def flush(self) -> None:
        """Settles what is to be settled, for consumers without a connection of their own. Raises redis.RedisError.

        A consumer that has one is not disturbed: where it waits for its bell, it goes on waiting.
        """
        fetches = self._tell is self._tell_by_default
        with self._flushing:
            while self._take_to_flush():
                try:
                    self.scripts.run("exchange", *self.report(self._flushed, fetches=fetches))
                except BaseException:
                    self.put_back(self._flushed)
                    raise
                finally:
                    self._flushed = []

    def _take_to_flush(self) -> list[Settled]:
        with self._moving:
            self._flushed = self._take()
        return self._flushed

    def report(self, settled: Collection[Settled], *, fetches: bool) -> tuple[Any, ...]:
        """The arguments of a request that only reports. Unless it `fetches` (nothing, for it has no room), the server
        leaves the worker among those that wait for their bell."""
        return (self.worker, 0, 0 if fetches else "", 0, "", *_flat(settled))

    def put_back(self, settled: Sequence[Settled]) -> None:
        """Nobody knows whether the server heard of it: it is told again."""
        with self._moving:
            self._settled.extendleft(reversed(settled))

    def take_settled(self) -> list[Settled]:
        with self._moving:
            return self._take()

    def _take(self) -> list[Settled]:
        self._has_told = False
        taken: list[Settled] = []
        with suppress(IndexError):
            while len(taken) < MOST_SETTLED:
                taken.append(self._settled.popleft())
        return taken


def _nobody() -> None:
    pass


def _flat(settled: Collection[Settled]) -> Iterable[Any]:
    for how, lease in settled:
        yield from (how, *lease)
