"""How much a filter or a transformation may do with one event, counted in steps and not on the clock.

The same specification and event always end the same way, on a fast machine and on a busy one. A step is one value
looked at or one value made, and takes half a microsecond. What honest work takes grows with the event, by a third of a
step for each byte and look through it; what is made to be slow grows with its square or cube. So a small event allows
few steps, and a large one more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from partners.errors import TransformError
from partners.exact_json import EVENT_LIMITS

MAX_OUTPUT_BYTES = EVENT_LIMITS.max_bytes + 65_536
"""The largest event, copied whole, still fits."""


STEPS_PER_BYTE = 4
"""Enough for a dozen looks through the whole event, however large it is (`omit` with `$..email`, `$..phone`, …)."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many steps, and some for each byte of the event's data; `most` for the largest events."""

    base: int
    most: int

    def steps(self, data: bytes) -> int:
        return min(self.base + STEPS_PER_BYTE * len(data), self.most)


TRANSFORMATION = Allowance(20_000, 500_000)
FILTER = Allowance(20_000, 100_000)
"""Filters run where events come in, one after another for all subscriptions."""
FILTERS_OF_PARTNER = Allowance(50_000, 200_000)
"""All of them together: a thousand subscriptions of one partner must not keep the events of the others waiting."""
STEPS_BETWEEN_RESTS = 500


class Budget:
    """What is left of it for one run. Running out raises TransformError.

    `rest` is called now and then by a run that is long, for a thread that has other things to do.
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
        """Before the work that it is for, whenever the work could be much."""
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
        """`size` bytes or characters more in the output."""
        self.room -= size
        if self.room < 0:
            raise self.too_large()

    def too_large(self) -> TransformError:
        return TransformError("output_too_large", f"the output is larger than the {self.max_bytes} bytes allowed")
