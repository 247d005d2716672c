"""The limits of a queue: as an application sets them, and as the scripts store them."""

import math
from dataclasses import dataclass

from delivery.broker.rates import default_burst, parse_rate

NONE, KEEP = "-", "="


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """All limits of a queue; None: not limited.

    `rate` is in Celery's format (50/s, 600/m, 1000/h). `burst` is in messages (default: 1 + a quarter of a second's
    worth). `max_in_flight` is the cap on leased messages. `paused_until` is in Unix seconds, inf: until resumed.
    """

    queue: str
    rate: str | float | None = None
    max_in_flight: int | None = None
    paused_until: float | None = None
    burst: float | None = None


def arguments(limits: QueueLimits) -> tuple[str, str, str, str, str]:
    """The arguments of configure.lua. Raises InvalidRate."""
    rate = parse_rate(limits.rate)
    burst = None if rate is None else max(1.0, default_burst(rate) if limits.burst is None else limits.burst)
    return limits.queue, number(rate), number(burst), number(limits.max_in_flight), number(limits.paused_until)


def unpacked(queue: str, packed: str | None) -> QueueLimits:
    """The limits that the scripts stored as `packed`."""
    if packed is None:
        return QueueLimits(queue)
    rate, burst, cap, paused_until = (None if value == NONE else float(value) for value in packed.split(" "))
    return QueueLimits(queue, rate, None if cap is None else int(cap), paused_until, burst)


def number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return NONE
    return repr(value)
