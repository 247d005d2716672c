"""Room: how many more messages a worker can take."""

from typing import Any

from delivery.broker.leases import MOST_WAITING

RESERVED = 1 / 4
"""The part of a worker's places that is kept for queues with nothing leased: slow queues cannot take them all."""
NOTHING, FOR_OPEN_ROOM, FOR_ANY_ROOM = range(3)
"""What an answer says is left to fetch: nothing, messages for open room only, or messages for any room."""


class Room:
    """By the prefetch window (QoS) of a channel."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    @property
    def total(self) -> int:
        qos = self._channel.qos
        if not qos.can_consume():
            return 0
        estimate = qos.can_consume_max_estimate()
        may_wait: int = self._channel.leases.may_wait
        return may_wait if estimate is None else min(may_wait, estimate)

    def open_of(self, total: int) -> int:
        """The part of `total` that is open to every queue. The rest is reserved for queues with nothing leased."""
        qos = self._channel.qos
        reserved = int((qos.prefetch_count or 0) * RESERVED)
        return min(total, max(0, (qos.can_consume_max_estimate() or MOST_WAITING) - reserved))

    def is_enough(self, total: int, left_to_fetch: int) -> bool:
        """Whether the worker can take a message of those that are left to fetch."""
        if left_to_fetch == FOR_OPEN_ROOM:
            return self.open_of(total) > 0
        return left_to_fetch == FOR_ANY_ROOM and total > 0
