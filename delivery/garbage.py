"""Tunes Python's cyclic garbage collector for a long-lived process with many objects."""

import gc

YOUNG = 20_000
"""Allocations, minus deallocations, after which the collector runs. A batch of deliveries allocates many thousand
objects. With Python's default of 700 the collector scanned them several times, and with them the data of 10,000
partners."""


def tune_collector() -> None:
    """Exempts all present objects from collection, and makes it rarer for new ones."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
