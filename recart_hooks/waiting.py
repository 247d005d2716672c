"""Waits for a condition."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Whether the condition became true in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
