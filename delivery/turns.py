"""Many tasks in one thread, taking turns: a task runs until it waits for something, and then the next one goes on.

A hand-over from thread to thread costs 20 to 50 µs, and a delivery has three waits: for its load, its answer and its
record. Between tasks of one thread it costs one. The tasks are greenlets, so what they run is plain code; the thread
runs an asyncio loop for sockets and timers, in which nothing may block: what would, goes through `offload`.

Everything here works in other threads as well, where a wait simply blocks.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar

from greenlet import getcurrent, greenlet

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Turns:
    """The thread. `spawn` and `resume` may be called from any thread; each `helper` runs one thing that blocks."""

    def __init__(self, name: str, helpers: int) -> None:
        self.events = asyncio.new_event_loop()
        """Its readers, writers and timers are for the tasks; used only in the thread itself."""
        self.helpers = ThreadPoolExecutor(helpers, f"{name}-helper")
        self._steps: deque[Callable[[], object]] = deque()
        self._is_called = False
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
        """Waits for every task that began. When the time is over those that are left go on until the process ends."""
        self.refuse()
        with self._has_changed:
            has_ended = self._has_changed.wait_for(lambda: not self._active, timeout_s)
        if has_ended and not self.events.is_closed():
            self.helpers.shutdown()
            self.events.call_soon_threadsafe(self.events.stop)
            self._thread.join()
            self.events.close()

    def spawn(self, work: Callable[[], object]) -> None:
        """`work` begins at its turn, as a task."""
        self._soon(lambda: self._begin(work) if self._takes_more else None)

    def branch(self, work: Callable[[], object]) -> None:
        """The same for what a task needs done to come to its end: nobody refuses it."""
        self._soon(lambda: self._begin(work))

    def resume(self, task: "Task") -> None:
        """A task that waits goes on at its turn."""
        self._soon(task.switch)

    def _soon(self, step: Callable[[], object]) -> None:
        self._steps.append(step)
        if self._is_called:  # one call is enough for all that gathers until it comes
            return
        self._is_called = True
        if threading.current_thread() is self._thread:
            self.events.call_soon(self._go_on)
        else:
            self.events.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        self._is_called = False  # before counting: whoever adds a step from now on calls again
        for _ in range(len(self._steps)):
            try:
                self._steps.popleft()()
            except BaseException:
                logger.exception("a task broke")

    def _begin(self, work: Callable[[], object]) -> None:
        self._active += 1
        Task(self, work).switch()

    def end(self) -> None:
        """Called by each task at its end."""
        with self._has_changed:
            self._active -= 1
            self._has_changed.notify_all()

    def _run(self) -> None:
        asyncio.set_event_loop(self.events)
        self.events.run_forever()


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
            self.turns.end()


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
            self._task.turns.resume(self._task)


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
    task.turns.events.call_later(seconds, waiter.wake)
    waiter.wait()


READS, WRITES = 1, 2


def wait_for_socket(task: Task, socket: int, what: int) -> int:
    """Until it can be read or written (READS, WRITES or both, as bits), as the task that runs; returns which."""
    waiter = Waiter()
    ready: list[int] = []

    def is_ready(which: int) -> None:
        if not ready:
            waiter.wake()
        ready.append(which)

    events = task.turns.events
    forget_socket(events, socket)
    if what & READS:
        events.add_reader(socket, is_ready, READS)
    if what & WRITES:
        events.add_writer(socket, is_ready, WRITES)
    try:
        waiter.wait()
    finally:
        forget_socket(events, socket)
    return sum(set(ready))


def forget_socket(events: asyncio.AbstractEventLoop, socket: int) -> None:
    """Also before one is waited for: its number may be that of a socket that libcurl has closed without a word."""
    events.remove_writer(socket)
    events.remove_reader(socket)


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
