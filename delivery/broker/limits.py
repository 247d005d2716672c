"""What a queue may do: how it is asked for, and how the scripts keep it."""

import math
from dataclasses import dataclass

from delivery.broker.rates import default_burst, parse_rate

NONE, KEEP = "-", "="


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """All limits of a queue; what is None is not limited.

    `rate` in Celery's grammar (50/s, 600/m, 1000/h); `burst` in messages (default: 1 + a quarter of a second's worth);
    `max_in_flight`: messages that workers may hold at a time; `paused_until` in Unix seconds, inf: until resumed.
    """

    queue: str
    rate: str | float | None = None
    max_in_flight: int | None = None
    paused_until: float | None = None
    burst: float | None = None


def arguments(limits: QueueLimits) -> tuple[str, str, str, str, str]:
    """For configure.lua. Raises InvalidRate."""
    rate = parse_rate(limits.rate)
    burst = None if rate is None else max(1.0, default_burst(rate) if limits.burst is None else limits.burst)
    return limits.queue, number(rate), number(burst), number(limits.max_in_flight), number(limits.paused_until)


def unpacked(queue: str, packed: str | None) -> QueueLimits:
    """From what the scripts keep."""
    if packed is None:
        return QueueLimits(queue)
    rate, burst, cap, paused_until = (None if value == NONE else float(value) for value in packed.split(" "))
    return QueueLimits(queue, rate, None if cap is None else int(cap), paused_until, burst)


def number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return NONE
    return repr(value)
