"""Percentiles and the summary of latencies."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the scheduled publish to the arrival of the POST."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the sorted values that at least this share of them does not exceed; nan if there are none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_of(values_ms: Sequence[float]) -> Latency:
    ordered = sorted(values_ms)
    return Latency(*(round(percentile(ordered, share), 2) for share in (0.5, 0.95, 0.99, 1.0)))
