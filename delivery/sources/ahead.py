"""Messages that were fetched ahead, taken by turns of their subjects.

JetStream hands messages out in the order in which it stored them. After a campaign of 20,000 events of one type, all
others would wait until these are stored. So the bridge fetches ahead, and its batches have a message of each type, then
a second one of each, and so on. Messages of one subject keep their order.
"""

import itertools
from collections import deque

from nats.aio.msg import Msg

SMALL_BATCH = 100


class Ahead:
    """`now` is a monotonic time in seconds."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[tuple[int, float, Msg]]] = {}
        """By subject: each message with its number in the order of arrival, and when it came."""
        self._turns: deque[str] = deque()
        """The subjects, by whose turn is next."""
        self._has_new = False
        """Whether a subject had nothing waiting when its first message came, since the last batch."""
        self._arrivals = itertools.count()
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, message: Msg, now: float) -> None:
        """A subject that had nothing waiting is next."""
        waiting = self._waiting.get(message.subject)
        if waiting is None:
            waiting = self._waiting[message.subject] = deque()
            self._turns.appendleft(message.subject)
            self._has_new = True
        waiting.append((next(self._arrivals), now, message))
        self._count += 1
        self.bytes += len(message.data)

    def take(self, limit: int) -> list[Msg]:
        """Takes at most so many; returns them in the order in which they came.

        If not all fit, a batch with a new subject is small: it is handled in a quarter of the time.
        """
        if self._has_new and self._count > limit:
            limit = min(limit, SMALL_BATCH)
        self._has_new = False
        taken = [self._next() for _ in range(min(limit, self._count))]
        taken.sort()
        return [message for _, _, message in taken]

    def longest_wait_s(self, now: float) -> float:
        return now - min((waiting[0][1] for waiting in self._waiting.values()), default=now)

    def _next(self) -> tuple[int, float, Msg]:
        subject = self._turns.popleft()
        waiting = self._waiting[subject]
        taken = waiting.popleft()
        if waiting:
            self._turns.append(subject)
        else:
            del self._waiting[subject]
        self._count -= 1
        self.bytes -= len(taken[2].data)
        return taken
