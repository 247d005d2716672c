"""Drives all of libcurl's exchanges of one thread of delivery.turns, side by side, and their kept connections.

libcurl says which sockets and which time it waits for, and is told when they are there. What begins together is begun
in one call, and what ended is collected once for all sockets that were ready.
"""

import logging
import time
from collections.abc import Callable

import pycurl

from delivery.sending.arrivals import Arrivals
from delivery.turns import READS, WRITES, Timer, Turns

logger = logging.getLogger(__name__)

Ended = tuple[int, str] | None
"""libcurl's error and its words; None for an exchange that ended well."""
FLOODED = (pycurl.E_FILESIZE_EXCEEDED, "the answer has more framing than content")
"""How we end one ourselves."""

_WAITS_FOR = {pycurl.POLL_IN: READS, pycurl.POLL_OUT: WRITES, pycurl.POLL_INOUT: READS | WRITES}


class Exchanges:
    """Used in the thread of `turns` only, but for `close`, which is called when that has ended."""

    def __init__(self, turns: Turns, connections: int) -> None:
        self._turns = turns
        self._running: dict[pycurl.Curl, Callable[[Ended], None]] = {}
        self._arrivals = Arrivals()
        self._is_called = False
        self._due_at: float | None = None
        self._timer: Timer | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._note_time)

    def begin(self, curl: pycurl.Curl, then: Callable[[Ended], None]) -> None:
        """`then` is called when the exchange has ended; the handle is free then."""
        self._multi.add_handle(curl)
        self._running[curl] = then
        self._turns.begins()
        self._call()

    def close(self) -> None:
        self._multi.close()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._turns.soon(self._go_on)

    def _go_on(self) -> None:
        """Once for all that was begun and all sockets that were ready since the last time."""
        self._is_called = False
        if self._due_at is not None and self._due_at <= time.monotonic():
            self._due_at = None  # libcurl says the next time
            self._act(pycurl.SOCKET_TIMEOUT, 0)
        left = 1
        while left:
            left, well, failed = self._multi.info_read()
            for curl in well:
                self._end(curl, None)
            for curl, code, message in failed:
                self._end(curl, (code, message))
        self._keep_time()

    def _end(self, curl: pycurl.Curl, ended: Ended) -> None:
        try:
            self._running.pop(curl)(ended)
        except Exception:  # it must not cost the others their end
            logger.exception("an exchange broke")
        self._turns.ends()

    def free(self, curl: pycurl.Curl) -> None:
        """Called by `then`, when it has asked the handle what it wants to know."""
        self._multi.remove_handle(curl)

    def _watch(self, what: int, socket: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """Called by libcurl, with what it waits for from now on at a socket."""
        wanted = _WAITS_FOR.get(what)
        if wanted is None:
            self._arrivals.forget(socket)
            self._turns.unwatch(socket)
        else:
            self._turns.watch(socket, wanted, self._on_ready)

    def _on_ready(self, socket: int, what: int) -> None:
        if self._arrivals.is_flood(socket):
            self._cut_off(socket)
        else:
            self._act(socket, what)
        self._call()

    def _cut_off(self, socket: int) -> None:
        """libcurl does not say whose a socket is; this is rare."""
        for curl in [curl for curl in self._running if curl.getinfo(pycurl.ACTIVESOCKET) == socket]:
            self._end(curl, FLOODED)

    def _act(self, socket: int, what: int) -> None:
        """An error here is libcurl's own; every exchange still has its deadline."""
        try:
            self._multi.socket_action(socket, what)
        except pycurl.error:
            logger.exception("libcurl failed")

    # Time. A timer that is early is set again when it rings, not before: libcurl changes its mind at each step.

    def _note_time(self, after_ms: int) -> None:
        """Called by libcurl; it must not be called back from in here, however soon it wants it."""
        self._due_at = None if after_ms < 0 else time.monotonic() + after_ms / 1000

    def _keep_time(self) -> None:
        due_at, timer = self._due_at, self._timer
        if due_at is None or (timer is not None and timer.at <= due_at):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._turns.call_later(due_at - time.monotonic(), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._go_on()
