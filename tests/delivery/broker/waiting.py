"""Waiting for a condition."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    """Checks the condition often. Raises AssertionError if it does not become true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.01)
