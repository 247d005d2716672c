"""A task that waits a moment for more to come, so that all of it is done together."""

from collections.abc import Callable

from delivery.turns import Turns, Waiter


class Lingering:
    """`wait` ends when `has_all` says so, or after `longest_s`. All in the thread of the turns, one task at a time."""

    def __init__(self, turns: Turns, longest_s: float, has_all: Callable[[], bool]) -> None:
        self._turns = turns
        self._longest_s = longest_s
        self._has_all = has_all
        self._waiter: Waiter | None = None

    def wait(self) -> None:
        if self._has_all():
            return
        self._waiter = Waiter()
        timer = self._turns.call_later(self._longest_s, self._end)
        self._waiter.wait()
        timer.cancel()

    def look(self) -> None:
        """After what `has_all` asks about has changed."""
        if self._waiter is not None and self._has_all():
            self._end()

    def _end(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.wake()
