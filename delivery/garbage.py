"""How often Python looks for garbage in cycles, in a process that lives long and keeps much."""

import gc

YOUNG = 20_000
"""Objects made and not gone since the last look. A batch of deliveries makes many thousands: with Python's 700, they
were looked through several times, and so was all that is known of 10,000 partners."""


def spare_what_stays() -> None:
    """What is there now is never looked through again, and what comes less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
