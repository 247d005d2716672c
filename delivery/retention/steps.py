"""Removes many rows in small steps, for tables without an archive or rows that must stay."""

import time
from collections.abc import Callable

PER_STEP = 5_000
WITHIN_S = 60.0


def remove_in_steps(remove: Callable[[int], int]) -> int:
    """Calls `remove` with the most rows of a step until it removes fewer, for at most a minute. Returns how many rows
    were removed."""
    ends = time.monotonic() + WITHIN_S
    removed = 0
    while True:
        count = remove(PER_STEP)
        removed += count
        if count < PER_STEP or time.monotonic() > ends:
            return removed
