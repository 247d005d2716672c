"""The leases of one worker (one consumer of this process).

They outlive its connections: a message stays leased until it is settled, and a settlement is kept until the server has
answered the request that reports it.

Requests are numbered. If the answer to a request is lost, the server may have leased messages that never arrived. So
the next request names the first lost one, and the server takes back what was leased since. The first request on a new
connection takes back all leases except those that it lists: a server that comes back without its last second, or a
replica that replaced it, may hold leases that were settled long ago.
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

MOST_WAITING, FEW_WAITING = 100, 15
"""A worker fetches no more messages while more than a few of those that it has wait for their tasks to begin, and then
so many that the most wait: whatever it fetches next begins after all of them, however light its queue."""
MOST_SETTLEMENTS = 500
"""In one request."""

_consumers = itertools.count()

Settlement = tuple[str, Lease]
"""How a message was settled, as in lua/exchange.lua, and its lease."""


def seconds() -> float:
    """A monotonic clock that also counts the time in which the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Leases:
    """Any thread may call `settle`, and one thread at a time sends requests. An answer older than `max_answer_age_s`
    when it is read is not used: its leases may belong to another worker by then."""

    def __init__(self, scripts: Scripts, max_answer_age_s: float) -> None:
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns():x}:{next(_consumers)}".replace(" ", "-")
        self.scripts = scripts
        self.held: dict[Lease, None] = {}
        self._waiting: set[Lease] = set()
        """Those whose tasks wait for their beginning."""
        self.stays_until_exit = False
        """The worker is stopping, but tasks still run: their leases go back when the process ends, not before."""
        self.is_awaited = False
        """By the last answer, a queue at its cap waits for a settlement by this worker."""
        self.max_answer_age_s = max_answer_age_s
        self._settled: deque[Settlement] = deque()
        self._reported: list[Settlement] = []
        self._number = 0
        self._sent_at = 0.0
        self._first_lost: int | None = None
        self._reports_lost_request = False
        """Whether the request under way does."""
        self._is_reporter_called = False
        self._call_reporter = self._call_default_reporter = _ignore
        self._flushed: list[Settlement] = []
        self._flush_lock = threading.Lock()
        self._lock = threading.Lock()
        """Guards moves between these collections: a lease that is in none of them would be taken for lost."""

    # Leases

    def hold(self, queue: str, id: bytes) -> Lease:
        """Adds the lease of a message in the last answer."""
        lease = Lease(queue, id, self._number)
        self.held[lease] = None
        return lease

    def settle(self, lease: Lease, how: str = "ack") -> None:
        """Ends a lease; the reporter reports it soon. Does nothing if the lease is not held."""
        with self._lock:
            if lease not in self.held:
                return
            del self.held[lease]
            self._waiting.discard(lease)
            self._settled.append((how, lease))
        if not self._is_reporter_called:
            self._is_reporter_called = True
            self._call_reporter()

    def put_off(self, lease: Lease, delay_s: float) -> None:
        """Settles the message as delayed by this time."""
        self.settle(lease, str(max(delay_s, 0.0)))

    def give_back(self, leases: Iterable[Lease]) -> None:
        """Returns messages to the heads of their queues, in the order of the leases."""
        for lease in reversed(list(leases)):
            self.settle(lease, "head")

    def waits(self, lease: Lease) -> None:
        """The message's task waits until `begins` is called, or its lease ends."""
        self._waiting.add(lease)

    def begins(self, lease: Lease) -> None:
        """Any thread may call it."""
        self._waiting.discard(lease)
        if len(self._waiting) == FEW_WAITING:
            self._call_reporter()

    @property
    def may_wait(self) -> int:
        """How many more messages the worker may fetch."""
        waiting = len(self._waiting)
        return 0 if waiting > FEW_WAITING else MOST_WAITING - waiting

    # Requests

    def set_reporter(self, reporter: Callable[[], None] | None, default: Callable[[], None] | None = None) -> None:
        """Sets what is called, from any thread, when there is something to report; None: the default."""
        self._call_default_reporter = default or self._call_default_reporter
        self._call_reporter = reporter or self._call_default_reporter
        if self.must_report:
            self._call_reporter()

    @property
    def must_report(self) -> bool:
        return self.has_settlements or self.has_lost_request

    @property
    def has_settlements(self) -> bool:
        """Whether there are settlements to report."""
        return bool(self._settled)

    @property
    def has_lost_request(self) -> bool:
        """Whether the next request must take back what a lost one leased."""
        return self._first_lost is not None

    def request_arguments(self, room: int, open_room: int, *, reports: bool = True) -> tuple[Any, ...]:
        """The next request, as arguments of exchange.lua. `request_answered`, `request_refused` or `request_lost` must
        follow.

        A request behind the bell does not report settlements: the server would get them late.
        """
        self._number += 1
        self._sent_at = seconds()
        self._reported = self.take_settlements() if reports else []
        lost = "" if self._first_lost is None else self._first_lost
        self._reports_lost_request = self.has_lost_request
        entries = [*self._reported, *self._held_entries()] if self.has_lost_request else self._reported
        return (self.worker, self._number, room, open_room, lost, *_flat(entries))

    def _held_entries(self) -> list[Settlement]:
        """Lists the messages that are held, or settled but not reported yet."""
        with self._lock:
            leases = [*self.held, *(lease for _, lease in [*self._settled, *self._flushed])]
        return [("has", lease) for lease in leases]

    def request_answered(self) -> bool:
        """False if the answer is too old to be used; the request then counts as lost."""
        if seconds() - self._sent_at > self.max_answer_age_s:
            self.request_lost()
            return False
        self._reported = []
        if self._reports_lost_request:
            self._first_lost = None
        return True

    def request_refused(self) -> None:
        """The server refused the request, and did nothing."""
        self.report_again(self._reported)
        self._reported = []

    def reconcile(self) -> None:
        """Makes the next request list all leases: on a new connection the server may not know the last settlements."""
        if self._number:
            self._first_lost = 0

    def request_lost(self) -> None:
        """The server may have executed the request: report again, and take back what it leased."""
        self.request_refused()
        if self._first_lost is None:
            self._first_lost = self._number

    def flush(self) -> None:
        """Reports all settlements on a connection of the process's own. Raises redis.RedisError.

        A worker that is connected as well goes on waiting for its bell.
        """
        ends_wait = self._call_reporter is self._call_default_reporter
        with self._flush_lock:
            while self._take_for_flush():
                try:
                    self.scripts.run("exchange", *self.report_arguments(self._flushed, ends_wait=ends_wait))
                except BaseException:
                    self.report_again(self._flushed)
                    raise
                finally:
                    self._flushed = []

    def _take_for_flush(self) -> list[Settlement]:
        with self._lock:
            self._flushed = self._take()
        return self._flushed

    def report_arguments(self, settlements: Collection[Settlement], *, ends_wait: bool) -> tuple[Any, ...]:
        """A request that only reports, as above. `ends_wait`: the worker stops waiting for its bell."""
        return (self.worker, 0, 0 if ends_wait else "", 0, "", *_flat(settlements))

    def report_again(self, settlements: Sequence[Settlement]) -> None:
        """Puts settlements back that the server may not have received."""
        with self._lock:
            self._settled.extendleft(reversed(settlements))

    def take_settlements(self) -> list[Settlement]:
        with self._lock:
            return self._take()

    def _take(self) -> list[Settlement]:
        self._is_reporter_called = False
        taken: list[Settlement] = []
        with suppress(IndexError):
            while len(taken) < MOST_SETTLEMENTS:
                taken.append(self._settled.popleft())
        return taken


def _ignore() -> None:
    pass


def _flat(settlements: Collection[Settlement]) -> Iterable[Any]:
    for how, lease in settlements:
        yield from (how, *lease)
