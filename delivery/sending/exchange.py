"""Runs libcurl's exchanges: in a thread each blocks it; in a task of delivery.turns, the others go on meanwhile.

libcurl then tells which sockets and which time it waits for, and is told when they are there.
"""

import asyncio

import pycurl

from delivery.turns import Waiter, current_task

_NOTHING: frozenset[int] = frozenset()
_WANTED = {
    pycurl.POLL_IN: frozenset({pycurl.CSELECT_IN}),
    pycurl.POLL_OUT: frozenset({pycurl.CSELECT_OUT}),
    pycurl.POLL_INOUT: frozenset({pycurl.CSELECT_IN, pycurl.CSELECT_OUT}),
    pycurl.POLL_REMOVE: _NOTHING,
}


class Exchanges:
    """Those of one libcurl handle, one after the other; its connection stays open between them."""

    def __init__(self, curl: pycurl.Curl) -> None:
        self._curl = curl
        self._multi: pycurl.CurlMulti | None = None
        self._events: asyncio.AbstractEventLoop
        self._timer: asyncio.TimerHandle | None = None
        self._waiter: Waiter | None = None
        self._failure: tuple[int, str] | None = None
        self._is_running = False
        self._watched: dict[int, frozenset[int]] = {}

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

    def close(self) -> None:
        self._stop_timer()
        if self._multi is not None:
            self._multi.close()

    def _begin(self) -> pycurl.CurlMulti:
        multi = self._multi
        if multi is None:
            multi = self._multi = pycurl.CurlMulti()
            multi.setopt(pycurl.M_MAXCONNECTS, 1)
            multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
            multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
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

    def _end(self, failure: tuple[int, str] | None) -> None:
        if not self._is_running:
            return
        self._is_running, self._failure = False, failure
        self._stop_timer()
        if self._waiter is not None:
            self._waiter.wake()

    def _watch(self, what: int, socket: int, multi: pycurl.CurlMulti, _data: object) -> None:
        """Called by libcurl, with what it waits for from now on at a socket."""
        wanted, watched = _WANTED[what], self._watched.pop(socket, _NOTHING)
        for direction in watched - wanted:
            (self._events.remove_reader if direction == pycurl.CSELECT_IN else self._events.remove_writer)(socket)
        for direction in wanted - watched:
            add = self._events.add_reader if direction == pycurl.CSELECT_IN else self._events.add_writer
            add(socket, self._step, multi, socket, direction)
        if wanted:
            self._watched[socket] = wanted

    def _set_timer(self, after_ms: int) -> None:
        """Called by libcurl; it must not be called back from in here, however soon it wants it."""
        self._stop_timer()
        if after_ms >= 0 and self._multi is not None:
            self._timer = self._events.call_later(after_ms / 1000, self._on_time, self._multi)

    def _on_time(self, multi: pycurl.CurlMulti) -> None:
        self._timer = None
        self._step(multi, pycurl.SOCKET_TIMEOUT, 0)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
