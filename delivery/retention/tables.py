"""How to find and remove the old rows of each table. Pages follow the order of an index that exists for other reasons.

Ids of deliveries contain the time of their creation (UUIDv7), so the primary key finds old ones; `finished_at` then
decides. `choose` locks rows with SKIP LOCKED, which leaves rows in use for a later run. Values in the statements:
`after_…` is the position of the last row of the page before, `before` the time before which rows are old, `bound` the
same as an id of a delivery, `keys` the first column of the page, `size` its length.
"""

from dataclasses import dataclass
from typing import Any

from delivery.resolutions import RESOLUTIONS_S


@dataclass(frozen=True, slots=True)
class Table:
    """`page` selects (key, position…); `start` is the position before the first row."""

    name: str
    start: tuple[Any, ...]
    page: str
    delete: tuple[tuple[str, str], ...]
    """Pairs of a table and a statement, run in this order."""
    choose: str = ""
    """Selects and locks those keys of the page that are to be removed; empty: all of them."""


ATTEMPTS = Table(
    name="attempts",
    start=("", 0),
    page="""
        SELECT id, delivery_id, number FROM delivery_attempt
        WHERE (delivery_id, number) > (%(after_0)s, %(after_1)s) AND delivery_id < %(bound)s
        ORDER BY delivery_id, number LIMIT %(size)s
        """,
    choose="""
        SELECT id FROM delivery_attempt WHERE id = ANY(%(keys)s) AND started_at < %(before)s FOR UPDATE SKIP LOCKED
        """,  # without it, this and an expunging could each wait for the other
    delete=(("delivery_attempt", "DELETE FROM delivery_attempt WHERE id = ANY(%(keys)s)"),),
)

DELIVERIES = Table(
    name="deliveries",
    start=("",),
    page="""
        SELECT id, id FROM delivery_delivery WHERE id > %(after_0)s AND id < %(bound)s ORDER BY id LIMIT %(size)s
        """,
    choose="""
        SELECT id FROM delivery_delivery
        WHERE id = ANY(%(keys)s) AND status <> 'pending' AND finished_at < %(before)s FOR UPDATE SKIP LOCKED
        """,
    delete=(
        ("delivery_attempt", "DELETE FROM delivery_attempt WHERE delivery_id = ANY(%(keys)s)"),
        ("delivery_delivery", "DELETE FROM delivery_delivery WHERE id = ANY(%(keys)s)"),
    ),
)

EVENTS = Table(
    name="events",
    start=("-infinity", ""),
    page="""
        SELECT id, received_at, id FROM delivery_event
        WHERE received_at >= %(after_0)s AND (received_at, id) > (%(after_0)s, %(after_1)s)
          AND received_at < %(before)s
        ORDER BY received_at, id LIMIT %(size)s
        """,
    choose="""
        SELECT id FROM delivery_event e
        WHERE id = ANY(%(keys)s) AND NOT EXISTS (SELECT 1 FROM delivery_delivery d WHERE d.event_id = e.id)
          AND NOT EXISTS (SELECT 1 FROM delivery_fanout f WHERE f.event_id = e.id)
        FOR UPDATE SKIP LOCKED
        """,
    delete=(
        (  # checked again under the lock: a replay may have created a delivery meanwhile, see delivery.replay
            "delivery_event",
            """
            DELETE FROM delivery_event e WHERE id = ANY(%(keys)s)
            AND NOT EXISTS (SELECT 1 FROM delivery_delivery d WHERE d.event_id = e.id)
            AND NOT EXISTS (SELECT 1 FROM delivery_fanout f WHERE f.event_id = e.id)
            """,
        ),
    ),
)

DEAD_LETTERS = Table(
    name="dead_letters",
    start=(0,),
    page="""
        SELECT id, id FROM (
            SELECT id, received_at FROM delivery_deadletter WHERE id > %(after_0)s ORDER BY id LIMIT %(size)s) AS oldest
        WHERE received_at < %(before)s ORDER BY id
        """,
    delete=(("delivery_deadletter", "DELETE FROM delivery_deadletter WHERE id = ANY(%(keys)s)"),),
)

OPERATIONAL_EVENTS = Table(
    name="operational_events",
    start=("-infinity", ""),
    page="""
        SELECT id, created_at, id FROM delivery_operationalevent
        WHERE (created_at, id) > (%(after_0)s, %(after_1)s) AND created_at < %(before)s
        ORDER BY created_at, id LIMIT %(size)s
        """,
    delete=(("delivery_operationalevent", "DELETE FROM delivery_operationalevent WHERE id = ANY(%(keys)s)"),),
)


def rollups(name: str, resolution_s: int) -> Table:
    return Table(
        name=name,
        start=("-infinity", ""),
        page=f"""
            SELECT id, starts_at, subscription_id FROM delivery_rollup
            WHERE resolution_s = {resolution_s:d} AND (starts_at, subscription_id) > (%(after_0)s, %(after_1)s)
              AND starts_at < %(before)s
            ORDER BY starts_at, subscription_id LIMIT %(size)s
            """,  # noqa: S608 - a number of ours
        delete=(("delivery_rollup", "DELETE FROM delivery_rollup WHERE id = ANY(%(keys)s)"),),
    )


MINUTES, TEN_MINUTES, HOURS, SIX_HOURS, DAYS = (
    rollups(name, resolution_s)
    for name, resolution_s in zip(("minutes", "ten_minutes", "hours", "six_hours", "days"), RESOLUTIONS_S, strict=True)
)
