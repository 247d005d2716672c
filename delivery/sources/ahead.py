"""Messages that were fetched ahead, taken by turns of their subjects.

JetStream hands messages out in the order in which it stored them. After a campaign of 20,000 events of one type, all
others would wait until these are stored. So the bridge fetches ahead, and its batches have a message of each type, then
a second one of each, and so on. Messages of one subject keep their order.
"""

import itertools
from collections import deque

from nats.aio.msg import Msg

SMALL_BATCH = 200
MOST_BATCH_BYTES = 16 * 1024 * 1024
"""A batch takes several times its size while it is stored, and its first message waits for the last."""
_OVERHEAD_BYTES = 1000
"""What a message takes beside its content."""
Arrival = tuple[int, Msg]
"""A message, after its number in the order of arrival."""


class Ahead:
    def __init__(self) -> None:
        self._waiting: dict[str, deque[Arrival]] = {}
        """By subject."""
        self._new: deque[str] = deque()
        """Subjects that had nothing waiting when their first message came."""
        self._old: deque[str] = deque()
        """The other subjects, by whose turn is next."""
        self._arrivals = itertools.count()
        self._count = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._count

    def add(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject)
        if waiting is None:
            waiting = self._waiting[message.subject] = deque()
            self._new.append(message.subject)
        waiting.append((next(self._arrivals), message))
        self._count += 1
        self.bytes += _size(message)

    def take(self, limit: int) -> list[Msg]:
        """Takes at most so many, and no more beyond MOST_BATCH_BYTES; returns them in the order in which they came.

        New subjects have every other turn. If not all messages fit, a batch with a new subject is small, because it is
        published at its end.
        """
        if self._new and self._count > limit:
            limit = min(limit, SMALL_BATCH)
        taken: list[Arrival] = []
        least_left = self.bytes - MOST_BATCH_BYTES
        for turn in range(min(limit, self._count)):
            if self.bytes <= least_left:
                break
            is_for_new = bool(self._new) and (turn % 2 == 0 or not self._old)
            taken.append(self._take_of(self._new if is_for_new else self._old))
        taken.sort()
        return [message for _, message in taken]

    def _take_of(self, turns: deque[str]) -> Arrival:
        subject = turns.popleft()
        waiting = self._waiting[subject]
        taken = waiting.popleft()
        if waiting:
            self._old.append(subject)
        else:
            del self._waiting[subject]
        self._count -= 1
        self.bytes -= _size(taken[1])
        return taken


def _size(message: Msg) -> int:
    headers = message.headers or {}
    content = len(message.data) + sum(len(name) + len(value) for name, value in headers.items())
    return content + _OVERHEAD_BYTES
