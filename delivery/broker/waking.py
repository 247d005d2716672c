# mypy: disable-error-code="no-untyped-call"
"""What wakes a worker's event loop: another thread, or the time."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from delivery.broker.leases import seconds
from delivery.broker.poller import WAKER

SHORTEST_S = 0.001


class Waker:
    """`wake` may be called from any thread; `woken` is then called in the loop's."""

    def __init__(self, channel: Any, woken: Callable[[], None]) -> None:
        self._poller = channel.connection.cycle
        self._woken = woken
        self._sender, self._receiver = socket.socketpair()
        for end in (self._sender, self._receiver):
            end.setblocking(False)
        channel.handlers[WAKER] = self._hear
        self._poller.watch_socket(channel, self._receiver, WAKER)

    def wake(self) -> None:
        with suppress(OSError):  # full: the loop is awake; closed: it has ended
            self._sender.send(b"\0")

    def _hear(self) -> None:
        with suppress(OSError):
            self._receiver.recv(4096)
        self._woken()

    def close(self) -> None:
        self._poller.unwatch_socket(self._receiver)
        self._sender.close()
        self._receiver.close()


class Alarm:
    """Wakes the loop at a time. Where there is no event loop, kombu's poller asks for `at` instead."""

    def __init__(self, channel: Any, wake: Callable[[], None]) -> None:
        self._poller = channel.connection.cycle
        self._wake = wake
        self._timer: Any = None
        self.at: float | None = None
        """By `leases.seconds`; None while it is not set."""

    def set(self, in_s: float) -> None:
        in_s = max(in_s, SHORTEST_S)
        self.at = seconds() + in_s
        self.cancel()
        if self._poller.hub is not None:
            self._timer = self._poller.hub.call_later(in_s, self._wake)

    @property
    def is_over(self) -> bool:
        return self.at is not None and self.at <= seconds()

    def clear(self) -> None:
        """Its timer may still wake the loop, which costs less than to cancel it."""
        self.at = None

    def cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
