"""Limits the work of a filter or a transformation on one event, in steps instead of time.

So the same specification and event have the same result on every machine, busy or not. A step is one value read or one
value made, and takes about half a microsecond. Normal work grows with the size of the event: a third of a step for each
byte and pass over it. Work that is meant to be slow grows with the square or the cube. So the number of steps that are
allowed grows with the size of the event.
"""

from collections.abc import Callable
from dataclasses import dataclass

from partners.errors import TransformError
from partners.exact_json import EVENT_LIMITS

MAX_OUTPUT_BYTES = EVENT_LIMITS.max_bytes + 65_536
"""A copy of the largest event fits."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """`base` steps and `per_byte` for each byte of the event's data, but at most `most`."""

    base: int
    per_byte: float
    most: int

    def steps(self, data: bytes) -> int:
        return min(self.base + int(self.per_byte * len(data)), self.most)


TRANSFORMATION = Allowance(20_000, 4, 500_000)
"""Enough for a dozen passes over the event (`omit` with `$..email`, `$..phone`, …)."""
FILTER = Allowance(20_000, 4, 100_000)
FILTERS_AT_ONCE = Allowance(500, 0.5, 10_000)
"""For all filters of a partner together, where events come in one after another: enough for fifty ordinary filters, or
for one that looks through all of the event. If they need more, they run later, in the partner's own queue."""
STEPS_BETWEEN_RESTS = 500


class Budget:
    """The steps and bytes of output that are left to one run. Exceeding them raises TransformError.

    `rest` is called every STEPS_BETWEEN_RESTS steps, so that the thread can do other work during a long run.
    """

    __slots__ = ("_floor", "_rest", "max_bytes", "max_steps", "room", "steps")

    def __init__(
        self,
        max_steps: int = TRANSFORMATION.most,
        max_bytes: int = MAX_OUTPUT_BYTES,
        rest: Callable[[], None] | None = None,
    ) -> None:
        self._rest = rest
        self._floor = 0 if rest is None else max_steps - STEPS_BETWEEN_RESTS
        self.steps = max_steps
        self.max_steps = max_steps
        self.room = max_bytes
        self.max_bytes = max_bytes

    def take(self, steps: int) -> None:
        """Takes steps. Where the work can be much, it is called before the work."""
        self.steps -= steps
        if self.steps < self._floor:
            self._look_up()

    def _look_up(self) -> None:
        if self.steps < 0:
            raise TransformError("too_much_work", f"more than the {self.max_steps} steps that this event allows")
        self._floor = max(self.steps - STEPS_BETWEEN_RESTS, 0)
        if self._rest is not None:
            self._rest()

    def keep(self, size: int) -> None:
        """Takes room for `size` more bytes or characters of output."""
        self.room -= size
        if self.room < 0:
            raise self.too_large()

    def too_large(self) -> TransformError:
        return TransformError("output_too_large", f"the output is larger than the {self.max_bytes} bytes allowed")
