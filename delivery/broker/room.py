"""How many more messages a worker can take."""

from typing import Any

MOST_ROOM = 200
"""Messages in one answer: a worker that takes more lets the others wait."""
RESERVED = 1 / 4
"""Of a worker's places: for queues of which nothing is running, so that slow ones cannot take them all."""


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
        return MOST_ROOM if estimate is None else min(MOST_ROOM, estimate)

    def open_of(self, total: int) -> int:
        """How much of it is for queues that hold something already."""
        qos = self._channel.qos
        reserved = int((qos.prefetch_count or 0) * RESERVED)
        return min(total, max(0, (qos.can_consume_max_estimate() or MOST_ROOM) - reserved))
