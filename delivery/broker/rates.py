"""Rates in Celery's format: `50/s`, `600/m`, `1000/h`. A bare number is per second; none or 0 is no limit."""

import math

from delivery.broker.errors import InvalidRate

_SECONDS = {"s": 1, "m": 60, "h": 3600}

BURST_S = 0.25
"""An idle queue may send one message plus this many seconds' worth of its rate at once."""


def parse_rate(rate: str | float | None) -> float | None:
    """Messages a second; None for no limit. Raises InvalidRate."""
    if rate is None or rate == "":
        return None
    text = str(rate).strip()
    number, slash, unit = text.partition("/")
    try:
        per_second = float(number) / _SECONDS[unit if slash else "s"]
    except (ValueError, KeyError):
        raise InvalidRate(
            f"{text!r} is not a rate: write a number per second, minute or hour, such as 50/s, 600/m, 1000/h"
        ) from None
    if not math.isfinite(per_second) or per_second < 0:
        raise InvalidRate(f"{text!r} is not a rate: it must be finite and not negative")
    return per_second or None


def default_burst(per_second: float) -> float:
    """In any window of w seconds at most rate x w + burst messages start. At least 1, or none could start."""
    return 1 + per_second * BURST_S
