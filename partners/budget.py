"""How much a filter or a transformation may do with one event, counted in steps and not on the clock.

The same specification and event always end the same way, on a fast machine and on a busy one. A step is one value
looked at or one value made; half a million of them take well under a second.
"""

from partners.errors import TransformError
from partners.exact_json import EVENT_LIMITS

MAX_STEPS = 500_000
MAX_OUTPUT_BYTES = EVENT_LIMITS.max_bytes + 65_536
"""The largest event, copied whole, still fits."""


class Budget:
    """What is left of it for one run. Running out raises TransformError."""

    __slots__ = ("max_bytes", "room", "steps")

    def __init__(self, max_steps: int = MAX_STEPS, max_bytes: int = MAX_OUTPUT_BYTES) -> None:
        self.steps = max_steps
        self.room = max_bytes
        self.max_bytes = max_bytes

    def take(self, steps: int) -> None:
        """Before the work that it is for, whenever the work could be much."""
        self.steps -= steps
        if self.steps < 0:
            raise TransformError("too_much_work", "this event needs more steps than are allowed")

    def keep(self, size: int) -> None:
        """`size` bytes or characters more in the output."""
        self.room -= size
        if self.room < 0:
            raise self.too_large()

    def too_large(self) -> TransformError:
        return TransformError("output_too_large", f"the output is larger than the {self.max_bytes} bytes allowed")
