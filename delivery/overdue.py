"""Reads pending deliveries and fan-outs from PostgreSQL, in pages, to compare them with the broker."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from django.db import connection

from delivery.clocks import database_now
from delivery.due import FAN_OUT_COLUMNS, Due, FanOutDue, Queued, due_columns, queued
from partners.models import FOREVER

GRACE_S = 10.0
"""What became due less than this ago may still be on its way to the broker."""
PAGE = 5_000

Position = tuple[datetime, str]
"""When a delivery or a fan-out is due, and its id."""
OLDEST: Position = (datetime.min.replace(tzinfo=UTC), "")
NEWEST: Position = (FOREVER, "")


def partners_with_overdue(grace_s: float) -> list[str]:
    before = database_now() - timedelta(seconds=grace_s)
    found: set[str] = set()
    with connection.cursor() as cursor:
        for rows, due_at in _WAITING:
            cursor.execute(_PARTNERS.format(rows=rows, due_at=due_at), [before])
            found.update(row[0] for row in cursor.fetchall())
    return sorted(found)


_WAITING = (
    ("delivery_delivery WHERE status = 'pending'", "next_attempt_at"),
    ("delivery_fanout WHERE true", "created_at"),
)
"""Where the rows are, and which column says when they are due."""
_PARTNERS = """
WITH RECURSIVE next AS (
    (SELECT partner_id FROM {rows} ORDER BY partner_id LIMIT 1)
    UNION ALL
    SELECT (SELECT partner_id FROM {rows} AND partner_id > next.partner_id ORDER BY partner_id LIMIT 1)
    FROM next WHERE next.partner_id IS NOT NULL
)
SELECT next.partner_id FROM next
WHERE next.partner_id IS NOT NULL
  AND EXISTS (SELECT 1 FROM {rows} AND partner_id = next.partner_id AND {due_at} < %s)
"""
"""Skips from partner to partner in an index: a million rows of one partner cost one step."""


def pages(
    partner_id: str, grace_s: float, start: Position = OLDEST, *, back: bool = False, size: int = PAGE
) -> Iterator[tuple[list[Queued], Position]]:
    """Pages of what is overdue of one partner, after a position or back from it, each with the position of its end.
    Within a page the oldest comes first."""
    beyond, order = ("<", "DESC") if back else (">", "ASC")
    sql = _PAGE.format(beyond=beyond, order=order)
    before = database_now() - timedelta(seconds=grace_s)
    at = start
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql, {"partner": partner_id, "before": before, "due_at": at[0], "id": at[1], "size": size})
            rows = cursor.fetchall()
        if rows:
            at = (rows[-1][-1], rows[-1][0])
            yield [queued(*row[:-1]) for row in (reversed(rows) if back else rows)], at
        if len(rows) < size:
            return


_PAGE = f"""
SELECT * FROM (
    (SELECT {due_columns()}, next_attempt_at AS due_at
     FROM delivery_delivery
     WHERE status = 'pending' AND partner_id = %(partner)s AND next_attempt_at < %(before)s
       AND (next_attempt_at, id) {{beyond}} (%(due_at)s, %(id)s)
     ORDER BY next_attempt_at {{order}}, id {{order}} LIMIT %(size)s)
    UNION ALL
    (SELECT {FAN_OUT_COLUMNS}, created_at
     FROM delivery_fanout
     WHERE partner_id = %(partner)s AND created_at < %(before)s AND (created_at, id) {{beyond}} (%(due_at)s, %(id)s)
     ORDER BY created_at {{order}}, id {{order}} LIMIT %(size)s)
) AS waiting ORDER BY due_at {{order}}, id {{order}} LIMIT %(size)s
"""  # noqa: S608 - our own constants


def still_pending(waiting: Sequence[Queued]) -> list[Queued]:
    """Those whose attempts or fan-outs have not been made since they were read."""
    ids = [one.fan_out_id if isinstance(one, FanOutDue) else one.delivery_id for one in waiting]
    with connection.cursor() as cursor:
        cursor.execute(_STILL_PENDING, {"ids": ids})
        pending = {queued(*row).message_id for row in cursor.fetchall()}
    return [one for one in waiting if one.message_id in pending]


_STILL_PENDING = f"""
SELECT {due_columns()} FROM delivery_delivery WHERE id = ANY(%(ids)s) AND status = 'pending'
UNION ALL
SELECT {FAN_OUT_COLUMNS} FROM delivery_fanout WHERE id = ANY(%(ids)s)
"""  # noqa: S608 - our own constants


def scheduled(after: str = "", size: int = PAGE) -> Iterator[list[Due]]:
    """Pages of all pending retries after an id, with the times at which they are due, past or future."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT {due_columns("extract(epoch FROM next_attempt_at - statement_timestamp())::float8")}
                FROM delivery_delivery WHERE status = 'pending' AND attempt_count > 0 AND id > %s ORDER BY id LIMIT %s
                """,  # noqa: S608 - our own constants
                [after, size],
            )
            rows = cursor.fetchall()
        if not rows:
            return
        now = time.time()
        yield [Due(id_, number, to, type_, now + in_s, sooner) for id_, number, to, type_, in_s, sooner in rows]
        after = rows[-1][0]
