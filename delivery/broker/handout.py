# mypy: disable-error-code="no-untyped-call"
"""Hands the messages of an answer out to the worker."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from kombu.utils.encoding import bytes_to_str

from delivery.broker.received import Lease, Received

logger = logging.getLogger("fair_broker")


class Handout:
    """Belongs to one channel. `callback` gets the messages."""

    def __init__(self, channel: Any, callback: Callable[[Received], Any], *, no_ack: bool) -> None:
        self.callback = callback
        self._channel = channel
        self._leases = channel.leases
        self._no_ack = no_ack

    def stop(self) -> None:
        """Hands out no more: the messages of the next answer stay leased, for the caller to give back."""
        self.callback, self._no_ack = _ignore, False

    def hand_out(self, queues: list[Any]) -> int:
        """Hands out the messages of an answer. `queues` is its last part: for each queue its name, the number of its
        messages, and for each message its id and the message. Returns the number of messages."""
        fetched: list[tuple[Lease, bytes]] = []
        start = 0
        while start < len(queues):
            queue, end = bytes_to_str(queues[start]), start + 2 + 2 * queues[start + 1]
            fetched += [(self._leases.hold(queue, queues[at]), queues[at + 1]) for at in range(start + 2, end, 2)]
            start = end
        self._deliver(fetched)
        return len(fetched)

    def _deliver(self, fetched: list[tuple[Lease, bytes]]) -> None:
        delivered = 0
        try:
            for lease, raw in fetched:
                if (message := self._read(lease, raw)) is not None:
                    self.callback(message)
                    if self._no_ack:
                        self._leases.settle(lease)
                delivered += 1
        finally:
            self._leases.give_back(lease for lease, _ in fetched[delivered:])

    def _read(self, lease: Lease, raw: bytes) -> Received | None:
        """None if the message is not due yet, or unreadable; it is settled then."""
        try:
            envelope = orjson.loads(raw)
            eta = envelope["headers"].get("eta")
            if eta:  # from a producer on another transport: this one removes the ETA
                delay_s = delay_of(eta)
                if delay_s > 0:
                    self._leases.put_off(lease, delay_s)
                    return None
                envelope["headers"]["eta"] = None
            return Received(envelope, lease, self._channel)
        except Exception:
            logger.exception("buried a message that cannot be read", extra={"queue": lease.queue, "start": raw[:500]})
            self._leases.settle(lease, "bury")
            return None


def _ignore(_: Received) -> None:
    pass


def delay_of(eta: str) -> float:
    """Seconds from now until an ISO 8601 time; one without a zone is in UTC."""
    at = datetime.fromisoformat(eta)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
