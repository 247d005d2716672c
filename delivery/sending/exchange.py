"""Runs libcurl's exchanges: in a thread each blocks it; in a task of delivery.turns, the others go on meanwhile.

libcurl then tells which sockets and which time it waits for, and is told when they are there.
"""

import asyncio

import pycurl

from delivery.turns import Waiter, current_task, forget_socket

_READS = frozenset({pycurl.POLL_IN, pycurl.POLL_INOUT})
_WRITES = frozenset({pycurl.POLL_OUT, pycurl.POLL_INOUT})


class Exchanges:
    """Those of one libcurl handle, one after the other; its connection stays open between them."""

    def __init__(self, curl: pycurl.Curl) -> None:
        self._curl = curl
        self._multi: pycurl.CurlMulti | None = None
        self._events: asyncio.AbstractEventLoop
        self._due_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: Waiter | None = None
        self._failure: tuple[int, str] | None = None
        self._is_running = False
        self._registered: set[int] = set()
        self._reads: set[int] = set()
        self._writes: set[int] = set()

    def perform(self) -> None:
        """Raises pycurl.error as Curl.perform does."""
        task = current_task()
        if task is None:
            self._curl.perform()
            return
        self._events = task.turns.events
        multi = self._begin()
        self._step(multi, pycurl.SOCKET_TIMEOUT, 0)
        if self._is_running:
            self._waiter = Waiter()
            self._waiter.wait()
            self._waiter = None
        if self._failure is not None:
            raise pycurl.error(*self._failure)

    def has_new_socket(self) -> None:
        """Called when libcurl opens one; see `forget_socket`."""
        self._registered.clear()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._multi is not None:
            self._multi.close()

    def _begin(self) -> pycurl.CurlMulti:
        multi = self._multi
        if multi is None:
            multi = self._multi = pycurl.CurlMulti()
            multi.setopt(pycurl.M_MAXCONNECTS, 1)
            multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
            multi.setopt(pycurl.M_TIMERFUNCTION, self._note_time)
        else:
            multi.remove_handle(self._curl)  # not at its end: libcurl forgets what became of its connection
        multi.add_handle(self._curl)
        self._is_running, self._failure = True, None
        return multi

    def _step(self, multi: pycurl.CurlMulti, socket: int, what: int) -> None:
        """Something is there, or it is time. The only place that calls libcurl, and so the only one that can end."""
        try:
            multi.socket_action(socket, what)
            _, ended, failed = multi.info_read()
        except pycurl.error as error:  # of libcurl's own; it must not leave the task waiting
            self._end((pycurl.E_FAILED_INIT, str(error)))
            return
        if failed:
            _, code, message = failed[0]
            self._end((code, message))
        elif ended:
            self._end(None)
        else:
            self._keep_time()

    def _end(self, failure: tuple[int, str] | None) -> None:
        if not self._is_running:
            return
        self._is_running, self._failure = False, failure
        if self._waiter is not None:
            self._waiter.wake()

    # Sockets. One that is read stays registered between exchanges: to take it out and in again costs more than to post.

    def _watch(self, what: int, socket: int, multi: pycurl.CurlMulti, _data: object) -> None:
        """Called by libcurl, with what it waits for from now on at a socket."""
        if what in _READS or what in _WRITES:
            self._register(socket, multi)
        if what in _READS:
            self._reads.add(socket)
        else:
            self._reads.discard(socket)
        if what in _WRITES:
            self._writes.add(socket)
            self._events.add_writer(socket, self._step, multi, socket, pycurl.CSELECT_OUT)
        elif socket in self._writes:
            self._writes.remove(socket)
            self._events.remove_writer(socket)

    def _register(self, socket: int, multi: pycurl.CurlMulti) -> None:
        if socket not in self._registered:
            self._registered.add(socket)
            forget_socket(self._events, socket)
            self._events.add_reader(socket, self._on_readable, multi, socket)

    def _on_readable(self, multi: pycurl.CurlMulti, socket: int) -> None:
        if socket in self._reads:
            self._step(multi, socket, pycurl.CSELECT_IN)
        else:  # nobody waits for it: most likely the endpoint has closed its connection
            self._registered.discard(socket)
            self._events.remove_reader(socket)

    # Time. A timer is kept over exchanges as well: one that is early is set again when it rings, not before.

    def _note_time(self, after_ms: int) -> None:
        """Called by libcurl; it must not be called back from in here, however soon it wants it."""
        self._due_at = None if after_ms < 0 else self._events.time() + after_ms / 1000

    def _keep_time(self) -> None:
        due_at, timer = self._due_at, self._timer
        if due_at is None or (timer is not None and timer.when() <= due_at):
            return
        if timer is not None:
            timer.cancel()
        self._timer = self._events.call_at(due_at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if self._due_at is None or self._multi is None:
            return
        if self._events.time() >= self._due_at:
            self._due_at = None  # libcurl says the next time
            self._step(self._multi, pycurl.SOCKET_TIMEOUT, 0)
        else:
            self._keep_time()
