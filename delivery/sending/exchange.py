"""Drives all libcurl exchanges of one thread of delivery.turns in parallel, and keeps their connections.

libcurl says for which sockets and until when it waits, and is called when a socket is ready or the time has come. One
call starts all exchanges that began together, and one collects those that ended, for all sockets that were ready.

A server that keeps libcurl busy with what is no answer is cut off, with all connections of the same owner: the others
would keep it busy next.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

import pycurl

from delivery.polling import READS, WRITES
from delivery.sending.arrivals import Arrivals
from delivery.sending.guard import Guard
from delivery.sending.request import OnBusy
from delivery.turns import Timer, Turns

logger = logging.getLogger(__name__)

Ended = tuple[int, str] | None
"""libcurl's error code and message; None for an exchange without an error."""
FLOODED = (
    pycurl.E_FILESIZE_EXCEEDED,
    "cut off: an endpoint of this partner keeps the sender busy with what is no answer",
)
"""The error of an exchange that we end ourselves."""

_WAITS_FOR = {pycurl.POLL_IN: READS, pycurl.POLL_OUT: WRITES, pycurl.POLL_INOUT: READS | WRITES}


class Exchanges:
    """To be used in the thread of `turns` only, except `close`, which is called after that thread has ended."""

    def __init__(self, turns: Turns, connections: int, on_busy: OnBusy) -> None:
        self.guard = Guard()
        self._on_busy = on_busy
        self._turns = turns
        self._running: dict[pycurl.Curl, tuple[Callable[[Ended], None], str]] = {}
        """What to call at the end of each exchange, and its owner."""
        self._finished: deque[tuple[pycurl.Curl, Ended]] = deque()
        """Reported by libcurl, and still to be ended."""
        self._arrivals = Arrivals()
        self._is_called = False
        self._due_at: float | None = None
        self._timer: Timer | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._note_time)

    def begin(self, curl: pycurl.Curl, owner: str, then: Callable[[Ended], None]) -> None:
        """Starts an exchange. `then` is called when it has ended, and must call `free`."""
        self._multi.add_handle(curl)
        self._running[curl] = (then, owner)
        self._turns.begins()
        self._call()

    def close(self) -> None:
        self.guard.close()
        self._multi.close()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._turns.soon(self._go_on)

    def _go_on(self) -> None:
        """Called once for all exchanges that began and all sockets that were ready since the last time."""
        self._is_called = False
        self._do_what_is_due()
        self._collect()
        self._keep_time()

    def _do_what_is_due(self) -> None:
        if self._due_at is not None and self._due_at <= time.monotonic():
            self._due_at = None  # libcurl says the next time
            self._act(pycurl.SOCKET_TIMEOUT, 0)

    def _collect(self, busy: str | None = None) -> None:
        """Ends the exchanges that libcurl has finished. Those of the owner `busy` failed because they were cut off."""
        left = 1
        while left:
            left, well, failed = self._multi.info_read()
            self._finished.extend((curl, None) for curl in well)
            self._finished.extend((curl, (code, message)) for curl, code, message in failed)
        while self._finished:
            curl, ended = self._finished.popleft()
            self._end(curl, FLOODED if ended is not None and self._is_of(curl, busy) else ended)

    def _end(self, curl: pycurl.Curl, ended: Ended) -> None:
        then, _ = self._running.pop(curl)
        try:
            then(ended)
        except Exception:  # the other exchanges must still end
            logger.exception("ending an exchange raised an exception")
        self._turns.ends()

    def free(self, curl: pycurl.Curl) -> None:
        """Removes a handle whose exchange has ended. libcurl then forgets what happened to it."""
        self.guard.begins()
        self._multi.remove_handle(curl)
        self._guarded()

    def _watch(self, what: int, socket: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """Called by libcurl when what it waits for at a socket changes."""
        wanted = _WAITS_FOR.get(what)
        if wanted is None:
            self._arrivals.forget(socket)
            self._turns.unwatch(socket)
        else:
            self._turns.watch(socket, wanted, self._on_ready)

    def _on_ready(self, socket: int, what: int) -> None:
        if not self._arrivals.is_unusual(socket):
            self._act(socket, what)
        elif self._arrivals.is_flood(socket):
            self._cut_off(self._owner_at(socket))
        else:
            self._do_what_is_due()  # otherwise libcurl does it within the call that is measured
            began_s = time.thread_time()
            is_its_own = self._act(socket, what)
            if is_its_own and self._arrivals.is_work(socket, time.thread_time() - began_s):
                self._cut_off(self._owner_at(socket))
        self._call()

    def _owner_at(self, socket: int) -> str:
        """Whose exchange uses the socket; if it is none, who opened it. Searches, because this is rare."""
        users = [owner for curl, (_, owner) in self._running.items() if curl.getinfo(pycurl.ACTIVESOCKET) == socket]
        return users[0] if users else self.guard.owner_of(socket)

    def _cut_off(self, owner: str) -> None:
        self._on_busy(owner)
        self._collect(owner)  # what was answered in full counts
        for curl in list(self._running):
            if self._is_of(curl, owner):  # or it was ended meanwhile: ending one may cut off its owner again
                self._end(curl, FLOODED)
        self.guard.silence(owner)

    def _is_of(self, curl: pycurl.Curl, owner: str | None) -> bool:
        return curl in self._running and self._running[curl][1] == owner

    def _act(self, socket: int, what: int) -> bool:
        """Lets libcurl act. An error is libcurl's own; every exchange still ends at its deadline.

        Returns False if somebody had to be cut off meanwhile.
        """
        self.guard.begins()
        try:
            self._multi.socket_action(socket, what)
        except pycurl.error:
            logger.exception("libcurl failed")
        return self._guarded()

    def _guarded(self) -> bool:
        """To be called after each call of libcurl that may read. Returns False if somebody had to be cut off."""
        busy = self.guard.ends()
        for owner in busy:
            self._cut_off(owner)
        return not busy

    # Time. libcurl changes its next time often, so a timer that is too early is only set again when it rings.

    def _note_time(self, after_ms: int) -> None:
        """Called by libcurl with its next time. Must not call libcurl, even if that time is now."""
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
