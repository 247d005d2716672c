"""An event loop: many tasks take turns in one thread. A task runs until it waits (delivery.waits).

Switching between threads takes 20 to 50 µs, between tasks of one thread 1 µs. Tasks are greenlets, so they run ordinary
code. The thread polls sockets and timers, so a task must not block it: blocking functions go through `offload`. The
loop is not asyncio's, which takes 10 µs to report a socket.
"""

import asyncio
import heapq
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from greenlet import greenlet

from delivery.polling import READS, poller

logger = logging.getLogger(__name__)

LONGEST_TURN_S = 0.01
"""After this time without a poll, a task that calls `rest` gives way to sockets and timers."""
OnReady = Callable[[int, int], object]
"""Called with the socket's number and what it is ready for (delivery.polling)."""


class Timer:
    """Calls `ring` once, unless it is cancelled."""

    __slots__ = ("at", "is_cancelled", "ring")

    def __init__(self, at: float, ring: Callable[[], object]) -> None:
        self.at = at
        """By time.monotonic()."""
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Turns:
    """The thread and its loop. Only `branch`, `soon`, `refuse` and `stop` may be called from other threads.

    `helpers` is the number of threads that run blocking functions for tasks (delivery.waits.offload).
    """

    def __init__(self, name: str, helpers: int, longest_turn_s: float = LONGEST_TURN_S) -> None:
        self.helpers = ThreadPoolExecutor(helpers, f"{name}-helper")
        self._steps: deque[Callable[[], object]] = deque()
        self._poller = poller()
        self._sockets: dict[int, OnReady] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = itertools.count()
        self._wakened, self._waker = os.pipe()
        for end in (self._wakened, self._waker):
            os.set_blocking(end, False)
        self._longest_turn_s = longest_turn_s
        self._polled_at = time.monotonic()
        self._is_waiting = False
        self._is_over = False
        self._active = 0
        self._has_changed = threading.Condition()
        self._takes_more = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def refuse(self) -> None:
        """From now on `takes_more` is False: those who take messages begin no more of them."""
        self._takes_more = False

    def stop(self, timeout_s: float | None = None) -> None:
        """Waits for all tasks that began, then ends the thread. After the timeout, tasks go on until the process
        ends."""
        self.refuse()
        with self._has_changed:
            has_ended = self._has_changed.wait_for(lambda: not self._active, timeout_s)
        if has_ended and not self._is_over:
            self.helpers.shutdown()
            self.soon(self._end)
            self._thread.join()
            os.close(self._wakened)
            os.close(self._waker)

    @property
    def takes_more(self) -> bool:
        return self._takes_more

    def branch(self, work: Callable[[], object]) -> None:
        """Runs `work` as a task, even after `refuse`: others may need it in order to end."""
        self.soon(lambda: self._begin(work))

    def soon(self, step: Callable[[], object]) -> None:
        """Calls `step` in the thread, outside of tasks: it must not wait for anything."""
        self._steps.append(step)
        if self._is_waiting:
            self._is_waiting = False  # one byte is enough
            with suppress(BlockingIOError):
                os.write(self._waker, b"\0")

    @property
    def is_long(self) -> bool:
        """Whether sockets and timers have waited too long. Called in the thread."""
        return time.monotonic() - self._polled_at >= self._longest_turn_s

    def begins(self, count: int = 1) -> None:
        """Makes `stop` wait for `count` more calls of `ends`. Called in the thread, like `ends`."""
        self._active += count

    def ends(self, count: int = 1) -> None:
        self._active -= count
        if not self._active and not self._takes_more:
            with self._has_changed:
                self._has_changed.notify_all()

    def watch(self, socket: int, what: int, on_ready: OnReady) -> None:
        """Calls `on_ready` whenever the socket is ready for `what`; replaces an earlier `watch` of this socket."""
        if socket in self._sockets:
            self._poller.change(socket, what)
        else:
            self._poller.add(socket, what)
        self._sockets[socket] = on_ready

    def unwatch(self, socket: int) -> None:
        """Does nothing if the socket is not watched."""
        if self._sockets.pop(socket, None) is not None:
            self._poller.remove(socket)

    def call_later(self, seconds: float, ring: Callable[[], object]) -> Timer:
        timer = Timer(time.monotonic() + seconds, ring)
        heapq.heappush(self._timers, (timer.at, next(self._serial), timer))
        return timer

    def _begin(self, work: Callable[[], object]) -> None:
        self.begins()
        Task(self, work).switch()

    def _end(self) -> None:
        self._is_over = True

    def _run(self) -> None:
        # Django refuses to block a thread in which it sees an event loop.
        asyncio._set_running_loop(asyncio.AbstractEventLoop())  # type: ignore[abstract]  # a dummy for Django to see
        self.watch(self._wakened, READS, lambda *_: os.read(self._wakened, 4096))
        while True:
            for _ in range(len(self._steps)):
                self._call(self._steps.popleft())
            if self._is_over:
                break
            self._is_waiting = True
            ready = self._poller.wait(self._wait_s())
            self._is_waiting = False
            self._polled_at = time.monotonic()
            for socket, what in ready:
                if (on_ready := self._sockets.get(socket)) is not None:
                    self._call(on_ready, socket, what)
            self._ring()

    def _wait_s(self) -> float | None:
        """How long to wait. Called after `_is_waiting` is set, so that a step added later wakes the thread."""
        if self._steps:
            return 0
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _ring(self) -> None:
        if not self._timers:
            return
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.is_cancelled:
                self._call(timer.ring)

    @staticmethod
    def _call(step: Callable[..., object], *arguments: object) -> None:
        try:
            step(*arguments)
        except BaseException:
            logger.exception("a task raised an exception")


class Task(greenlet):
    """A greenlet that runs `work` in the thread of `turns`."""

    def __init__(self, turns: Turns, work: Callable[[], object]) -> None:
        super().__init__(self._work)
        self.turns = turns
        self._function = work

    def _work(self) -> None:
        try:
            self._function()
        finally:
            self.turns.ends()
