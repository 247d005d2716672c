"""Many tasks in one thread, taking turns: a task runs until it waits for something, and then the next one goes on.

A hand-over from thread to thread costs 20 to 50 µs; between tasks of one thread it costs one. The tasks are greenlets,
so what they run is plain code; the thread looks after sockets and timers, and nothing may block in it: what would, goes
through `offload`. It has a loop of its own because asyncio's takes 10 µs to tell of a socket, and two system calls for
each wait; here a socket is a place in one call of poll(2).

Waiter, sleep and offload work in other threads as well, where a wait simply blocks.
"""

import asyncio
import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from greenlet import getcurrent, greenlet

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
READS, WRITES = 1, 2
"""Bits, as psycopg and libcurl have them."""
LONGEST_TURN_S = 0.01
"""For so long sockets may wait for tasks that `rest`."""
_WANTED = (0, select.POLLIN, select.POLLOUT, select.POLLIN | select.POLLOUT)
_READY = {select.POLLIN: READS, select.POLLOUT: WRITES}
OnReady = Callable[[int, int], object]
"""Called with the socket's number and what it is ready for; after an error or at its end, for everything."""


class Timer:
    """Rings once, unless it is cancelled."""

    __slots__ = ("at", "is_cancelled", "ring")

    def __init__(self, at: float, ring: Callable[[], object]) -> None:
        self.at = at
        """By time.monotonic()."""
        self.ring = ring
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Turns:
    """The thread. `spawn`, `branch` and `soon` may be called from any thread, sockets and timers belong to the thread
    itself; each `helper` runs one thing that blocks."""

    def __init__(self, name: str, helpers: int, longest_turn_s: float = LONGEST_TURN_S) -> None:
        self.helpers = ThreadPoolExecutor(helpers, f"{name}-helper")
        self._steps: deque[Callable[[], object]] = deque()
        self._poll = select.poll()
        self._sockets: dict[int, OnReady] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = itertools.count()
        self._wakened, self._waker = os.pipe()
        for end in (self._wakened, self._waker):
            os.set_blocking(end, False)
        self._longest_turn_s = longest_turn_s
        self._polled_at = 0.0
        self._is_waiting = False
        self._is_over = False
        self._active = 0
        self._has_changed = threading.Condition()
        self._takes_more = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def refuse(self) -> None:
        """What was spawned and has not begun will not begin any more."""
        self._takes_more = False

    def stop(self, timeout_s: float | None = None) -> None:
        """Waits for everything that began. When the time is over what is left goes on until the process ends."""
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

    def spawn(self, work: Callable[[], object]) -> None:
        """`work` begins at its turn, as a task."""
        self.soon(lambda: self._begin(work) if self._takes_more else None)

    def branch(self, work: Callable[[], object]) -> None:
        """The same for what a task needs done to come to its end: nobody refuses it."""
        self.soon(lambda: self._begin(work))

    def soon(self, step: Callable[[], object]) -> None:
        """`step` is called in the thread, at its turn; it must not wait for anything."""
        self._steps.append(step)
        if self._is_waiting:
            self._is_waiting = False  # one who wakes is enough
            with suppress(BlockingIOError):
                os.write(self._waker, b"\0")

    @property
    def is_long(self) -> bool:
        """Whether sockets and timers have waited for too long. Asked in the thread."""
        return time.monotonic() - self._polled_at >= self._longest_turn_s

    def begins(self, count: int = 1) -> None:
        """So much more must end before `stop` returns. Called in the thread, like `ends`."""
        self._active += count

    def ends(self, count: int = 1) -> None:
        self._active -= count
        if not self._active and not self._takes_more:
            with self._has_changed:
                self._has_changed.notify_all()

    def watch(self, socket: int, what: int, on_ready: OnReady) -> None:
        """From now on, instead of what was asked of this socket before."""
        self._sockets[socket] = on_ready
        self._poll.register(socket, _WANTED[what])

    def unwatch(self, socket: int) -> None:
        """Does nothing for one that is not watched."""
        if self._sockets.pop(socket, None) is not None:
            self._poll.unregister(socket)

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
        # Where a loop is seen to run, Django refuses to block.
        asyncio._set_running_loop(asyncio.AbstractEventLoop())  # type: ignore[abstract]  # it is only there to be seen
        self.watch(self._wakened, READS, lambda *_: os.read(self._wakened, 4096))
        while True:
            for _ in range(len(self._steps)):
                self._call(self._steps.popleft())
            if self._is_over:
                break
            self._is_waiting = True
            ready = self._poll.poll(self._wait_ms())
            self._is_waiting = False
            self._polled_at = time.monotonic()
            for socket, what in ready:
                if (on_ready := self._sockets.get(socket)) is not None:
                    self._call(on_ready, socket, _READY.get(what, READS | WRITES))
            self._ring()

    def _wait_ms(self) -> float | None:
        """Asked after it was said that this thread waits: a step that comes later wakes it."""
        if self._steps:
            return 0
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        return max(0.0, (self._timers[0][0] - time.monotonic()) * 1000)

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
            logger.exception("a task broke")


class Task(greenlet):
    """One that takes turns with the others of its `turns`."""

    def __init__(self, turns: Turns, work: Callable[[], object]) -> None:
        super().__init__(self._work)
        self.turns = turns
        self._given = work

    def _work(self) -> None:
        try:
            self._given()
        finally:
            self.turns.ends()


class Waiter:
    """What its maker waits for, once: `wake` is called by somebody else, in any thread, before or after `wait`.

    Between making it and `wait` its maker must wait for nothing else.
    """

    __slots__ = ("_lock", "_task")

    def __init__(self) -> None:
        self._task = current_task()
        self._lock: threading.Lock | None = None
        if self._task is None:
            self._lock = threading.Lock()  # the cheapest thing that a thread can wait for
            self._lock.acquire()

    def wait(self) -> None:
        if self._lock is not None:
            self._lock.acquire()
        else:
            getcurrent().parent.switch()  # type: ignore[union-attr]  # a task's parent is its thread's loop

    def wake(self) -> None:
        if self._lock is not None:
            self._lock.release()
        elif self._task is not None:
            self._task.turns.soon(self._task.switch)


def current_task() -> Task | None:
    """The task that asks; None in a thread of another kind."""
    current = getcurrent()
    return current if isinstance(current, Task) else None


def sleep(seconds: float) -> None:
    task = current_task()
    if task is None:
        time.sleep(seconds)
        return
    waiter = Waiter()
    task.turns.call_later(seconds, waiter.wake)
    waiter.wait()


def rest() -> None:
    """For a task that works for long, now and then: when it is time, sockets, timers and the other tasks go first."""
    task = current_task()
    if task is not None and task.turns.is_long:
        waiter = Waiter()
        waiter.wake()
        waiter.wait()


def wait_for_socket(task: Task, socket: int, what: int, timeout_s: float) -> int:
    """Until it can be read or written (READS, WRITES or both), as the task that runs; returns which, or 0: it is too
    late."""
    waiter = Waiter()
    ready = 0

    def is_ready(_: int, which: int) -> None:
        nonlocal ready
        task.turns.unwatch(socket)
        timer.cancel()
        ready = which & what
        waiter.wake()

    timer = task.turns.call_later(timeout_s, lambda: is_ready(socket, 0))
    task.turns.watch(socket, what, is_ready)
    waiter.wait()
    return ready


def offload(work: Callable[..., Result], *arguments: object, to: Executor | None = None) -> Result:
    """Runs what blocks in a helper thread (or `to`), while the other tasks go on; returns or raises what it did."""
    task = current_task()
    if task is None:
        return work(*arguments)
    waiter = Waiter()
    running = (to or task.turns.helpers).submit(work, *arguments)
    running.add_done_callback(lambda _: waiter.wake())
    waiter.wait()
    return running.result()
