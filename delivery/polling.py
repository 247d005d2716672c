"""Waits for many sockets at once.

epoll(7) on Linux: its cost depends on the sockets that are ready, not on those that are watched. poll(2), the only
portable call, looks at each of them every time: with 850 requests under way to endpoints that did not answer, that took
a third of a worker's processor time.
"""

import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

READS, WRITES = 1, 2
"""Bits, the same as psycopg's and libcurl's."""
_EVENTS = (0, select.POLLIN, select.POLLOUT, select.POLLIN | select.POLLOUT)
_READY = {select.POLLIN: READS, select.POLLOUT: WRITES}
Ready = Sequence[tuple[int, int]]
"""The sockets' numbers with what each is ready for; after an error or a hang-up, READS | WRITES."""


class Poller(Protocol):
    """`what` is READS, WRITES or both."""

    def add(self, socket: int, what: int) -> None: ...

    def change(self, socket: int, what: int) -> None:
        """For a number that was added, though it may be another socket's by now."""

    def remove(self, socket: int) -> None:
        """To be called before the socket is closed."""

    def wait(self, seconds: float | None) -> Ready: ...


class Epoll:
    """Its events have the same values as those of poll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def add(self, socket: int, what: int) -> None:
        self._epoll.register(socket, _EVENTS[what])

    def change(self, socket: int, what: int) -> None:
        try:
            self._epoll.modify(socket, _EVENTS[what])
        except FileNotFoundError:
            self._epoll.register(socket, _EVENTS[what])

    def remove(self, socket: int) -> None:
        with suppress(OSError):  # another socket has its number, or none
            self._epoll.unregister(socket)

    def wait(self, seconds: float | None) -> Ready:
        return [(socket, _READY.get(what, READS | WRITES)) for socket, what in self._epoll.poll(seconds)]


class Poll:
    """For macOS."""

    def __init__(self) -> None:
        self._poll = select.poll()

    def add(self, socket: int, what: int) -> None:
        self._poll.register(socket, _EVENTS[what])

    change = add

    def remove(self, socket: int) -> None:
        self._poll.unregister(socket)

    def wait(self, seconds: float | None) -> Ready:
        milliseconds = None if seconds is None else seconds * 1000
        return [(socket, _READY.get(what, READS | WRITES)) for socket, what in self._poll.poll(milliseconds)]


def poller() -> Poller:
    return Epoll() if hasattr(select, "epoll") else Poll()
