"""Lets a task wait a moment for its batch to grow."""

from collections.abc import Callable

from delivery.turns import Turns
from delivery.waits import Waiter


class Lingering:
    """`wait` returns once `is_complete` returns True, or after `longest_s`.

    All methods run in the thread of `turns`; one task may wait at a time.
    """

    def __init__(self, turns: Turns, longest_s: float, is_complete: Callable[[], bool]) -> None:
        self._turns = turns
        self._longest_s = longest_s
        self._is_complete = is_complete
        self._waiter: Waiter | None = None

    def wait(self) -> None:
        if self._is_complete():
            return
        self._waiter = Waiter()
        timer = self._turns.call_later(self._longest_s, self._end)
        self._waiter.wait()
        timer.cancel()

    def check(self) -> None:
        """Ends the wait if the batch is complete. To be called when the result of `is_complete` may have changed."""
        if self._waiter is not None and self._is_complete():
            self._end()

    def _end(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()
