# mypy: disable-error-code="no-untyped-call"
"""When a worker's event loop wakes up (by another thread, or at a time), and when it may send its next request."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from delivery.broker.leases import seconds
from delivery.broker.poller import WAKER

SHORTEST_S = 0.001
PACE_S = 0.003
"""The least time between two requests. What happens meanwhile goes with the next one."""
SETTLED_WITHIN_S = 0.01
"""The same for a request that only reports, if no queue waits for it."""


class Waker:
    """Any thread may call `wake`; `on_wake` is then called in the event loop's thread."""

    def __init__(self, channel: Any, on_wake: Callable[[], None]) -> None:
        self._poller = channel.connection.cycle
        self._on_wake = on_wake
        self._sender, self._receiver = socket.socketpair()
        for end in (self._sender, self._receiver):
            end.setblocking(False)
        channel.handlers[WAKER] = self._read
        self._poller.watch_socket(channel, self._receiver, WAKER)

    def wake(self) -> None:
        with suppress(OSError):  # full: the loop is awake already; closed: it has ended
            self._sender.send(b"\0")

    def _read(self) -> None:
        with suppress(OSError):
            self._receiver.recv(4096)
        self._on_wake()

    def close(self) -> None:
        self._poller.unwatch_socket(self._receiver)
        self._sender.close()
        self._receiver.close()


class Alarm:
    """Calls `wake` at a time. Without an event loop, the poller waits no longer than until `at`."""

    def __init__(self, channel: Any, wake: Callable[[], None]) -> None:
        self._poller = channel.connection.cycle
        self._wake = wake
        self._timer: Any = None
        self.at: float | None = None
        """By the clock `leases.seconds`; None while not set."""

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
        """The timer may still wake the loop, which costs less than to cancel it."""
        self.at = None

    def cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class Throttle:
    """Keeps a worker's requests apart."""

    def __init__(self) -> None:
        self._last_sent_at = 0.0

    def note_request(self) -> None:
        self._last_sent_at = seconds()

    def wait_s(self, is_urgent: bool) -> float:
        """The time until the next request may be sent; zero or less: now."""
        return self._last_sent_at + (PACE_S if is_urgent else SETTLED_WITHIN_S) - seconds()
