"""Latencies as counts in fixed buckets, which can be added up over workers, minutes and subscriptions.

Pure. Each bound is about half as large again as the one before. A percentile is interpolated within the bucket that
contains the true one, so from 1 ms to 25 s it is at most about 50 % too high, or a third too low.
"""

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS_MS: tuple[float, ...] = (
    1, 1.5, 2.2, 3.3, 5, 7.5, 11, 17, 25, 38, 57, 85, 130, 190, 290, 430, 650, 1000, 1500, 2200, 3300, 5000, 7500,
    11_000, 17_000, 25_000,
)  # fmt: skip
"""Upper bounds in milliseconds. One more bucket holds longer latencies."""
SIZE = len(BOUNDS_MS) + 1


def bucket_of(latency_ms: float) -> int:
    """The index of the bucket that contains this latency."""
    return bisect_left(BOUNDS_MS, latency_ms)


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The latency in ms that `share` (0 to 1) of the counted latencies do not exceed; None if there are none.

    Interpolated within the bucket, and at most the last bound.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= wanted:
            return _within(index, (wanted - below) / count)
        below += count
    return BOUNDS_MS[-1]


def _within(index: int, part: float) -> float:
    if index >= len(BOUNDS_MS):
        return BOUNDS_MS[-1]
    lower = BOUNDS_MS[index - 1] if index else 0.0
    return lower + (BOUNDS_MS[index] - lower) * min(max(part, 0.0), 1.0)
