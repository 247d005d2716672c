"""The events that a replay selects, read in pages. Each page looks at a bounded number of events, however few match."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from delivery.messages import OUR_SOURCE
from delivery.models import ReplayJob
from partners.models import Subscription

PAGE = 200
LOOKED_AT = 5_000
"""How many events one page looks at, in the order in which they were received."""

Position = tuple[datetime, str]
"""When an event was received, and its id."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to replay: events received from `since` to before `until`."""

    subscription: Subscription
    mode: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Row:
    event_id: str
    event_type: str
    received_at: datetime
    occurred_at: datetime
    data: str
    delivery_id: str | None
    attempt_count: int | None
    status: str | None

    @property
    def position(self) -> Position:
        return self.received_at, self.event_id


def source(wanted: Wanted) -> tuple[str, list[Any]]:
    """FROM and WHERE clauses of the events that a replay selects, with their values."""
    values: list[Any] = [wanted.subscription.pk, wanted.since, wanted.until, f"{OUR_SOURCE}%"]
    if wanted.mode == ReplayJob.Mode.FAILED:
        condition = "AND d.status = 'dead'"
    else:
        condition = (
            "AND (d.id IS NULL OR d.status <> 'pending')" if wanted.mode == ReplayJob.Mode.ALL else "AND d.id IS NULL"
        )
        patterns = wanted.subscription.event_types
        below = [pattern[:-1].replace("_", r"\_") + "%" for pattern in patterns if pattern.endswith("*")]
        condition += f" AND (e.type = ANY(%s){' OR e.type LIKE %s' * len(below)})"  # one by one: each can use the index
        values += [[pattern for pattern in patterns if not pattern.endswith("*")], *below]
    sql = f"""
        FROM delivery_event e LEFT JOIN delivery_delivery d ON d.event_id = e.id AND d.subscription_id = %s
        WHERE e.received_at >= %s AND e.received_at < %s AND e.source NOT LIKE %s AND e.expunged_at IS NULL {condition}
    """
    return sql, values


def settled_until() -> datetime:
    """All events that were received before this time can be read: no statement that is older is storing any.

    Looks back three minutes, longer than the bridge waits for a batch: other transactions may last for hours.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(min(xact_start), statement_timestamp()) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
              AND xact_start > now() - interval '3 minutes'
              AND (backend_xid IS NOT NULL OR state = 'active' AND xact_start > now() - interval '10 seconds')
            """  # the last condition: a statement that begins to store has no transaction id yet
        )
        moment: datetime = cursor.fetchone()[0]
        return moment


def page(
    wanted: Wanted, after: Position, size: int = PAGE, look_at: int = LOOKED_AT
) -> tuple[list[Row], Position | None]:
    """Selected events after a position, and the position up to which the events were looked at; None at the end."""
    wanted = replace(wanted, since=max(wanted.since, after[0]))
    end = _end_of_look(wanted, after, look_at)
    last = end or (wanted.until, "")
    from_where, values = source(replace(wanted, until=min(wanted.until, last[0] + timedelta(microseconds=1))))
    sql = f"""
        SELECT e.id, e.type, e.received_at, e.occurred_at, e.data, d.id, d.attempt_count, d.status {from_where}
        AND (e.received_at, e.id) > (%s, %s) AND (e.received_at, e.id) <= (%s, %s)
        ORDER BY e.received_at, e.id LIMIT %s
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *after, *last, size])
        rows = [Row(*row) for row in cursor.fetchall()]
    return rows, rows[-1].position if len(rows) == size else end


def _end_of_look(wanted: Wanted, after: Position, look_at: int) -> Position | None:
    """The last event to look at; None if fewer than `look_at` are left."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT received_at, id FROM delivery_event
            WHERE received_at >= %s AND received_at < %s AND (received_at, id) > (%s, %s)
            ORDER BY received_at, id OFFSET %s LIMIT 1
            """,
            [wanted.since, wanted.until, *after, look_at - 1],
        )
        found: Position | None = cursor.fetchone()
        return found
