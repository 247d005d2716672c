"""How code in a task of delivery.turns waits: for another thread, a time, a socket, or a function that blocks.

While a task waits, the other tasks of its thread go on. In any other thread, Waiter, sleep and offload simply block,
and rest does nothing.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from greenlet import getcurrent

from delivery.turns import Task

Result = TypeVar("Result")


class Waiter:
    """Lets the task or thread that created it wait, once, until another calls `wake`, before or after `wait`.

    Any thread may call `wake`. Between creating a Waiter and `wait`, a task must not wait for anything else.
    """

    __slots__ = ("_lock", "_task")

    def __init__(self) -> None:
        self._task = current_task()
        self._lock: threading.Lock | None = None
        if self._task is None:
            self._lock = threading.Lock()  # the cheapest object that a thread can wait for
            self._lock.acquire()

    def wait(self) -> None:
        if self._lock is not None:
            self._lock.acquire()
        else:
            getcurrent().parent.switch()  # type: ignore[union-attr]  # to the loop, which is the parent of each task

    def wake(self) -> None:
        if self._lock is not None:
            self._lock.release()
        elif self._task is not None:
            self._task.turns.soon(self._task.switch)


def current_task() -> Task | None:
    """The running task; None outside of tasks."""
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
    """Gives way to sockets, timers and other tasks if they have waited too long. A long computation calls it often."""
    task = current_task()
    if task is not None and task.turns.is_long:
        waiter = Waiter()
        waiter.wake()
        waiter.wait()


def wait_for_socket(task: Task, socket: int, what: int, timeout_s: float) -> int:
    """Waits, in the running task, until the socket can be read or written (READS, WRITES or both).

    Returns which it can be, or 0 after the timeout.
    """
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
    """Runs a blocking function in a helper thread (or in `to`), while other tasks go on; returns its result."""
    task = current_task()
    if task is None:
        return work(*arguments)
    waiter = Waiter()
    running = (to or task.turns.helpers).submit(work, *arguments)
    running.add_done_callback(lambda _: waiter.wake())
    waiter.wait()
    return running.result()
