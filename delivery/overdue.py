"""Reads pending deliveries from PostgreSQL, in pages, to compare them with the broker."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.db import connection

from delivery.clocks import database_now
from delivery.due import Due, due_columns
from partners.models import FOREVER

GRACE_S = 10.0
"""A delivery that became due less than this ago may still be on its way to the broker."""
PAGE = 5_000

Position = tuple[datetime, str]
"""When a delivery is due, and its id."""
OLDEST: Position = (datetime.min.replace(tzinfo=UTC), "")
NEWEST: Position = (FOREVER, "")


def partners_with_overdue(grace_s: float) -> list[str]:
    """Skips from partner to partner in the index of pending deliveries: a million rows of one partner cost one step."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE next AS (
                (SELECT partner_id FROM delivery_delivery WHERE status = 'pending' ORDER BY partner_id LIMIT 1)
                UNION ALL
                SELECT (SELECT d.partner_id FROM delivery_delivery d
                        WHERE d.status = 'pending' AND d.partner_id > next.partner_id ORDER BY d.partner_id LIMIT 1)
                FROM next WHERE next.partner_id IS NOT NULL
            )
            SELECT partner_id FROM next
            WHERE partner_id IS NOT NULL AND EXISTS (
                SELECT 1 FROM delivery_delivery d
                WHERE d.status = 'pending' AND d.partner_id = next.partner_id AND d.next_attempt_at < %s)
            """,
            [database_now() - timedelta(seconds=grace_s)],
        )
        return [row[0] for row in cursor.fetchall()]


def pages(
    partner_id: str, grace_s: float, start: Position = OLDEST, *, back: bool = False, size: int = PAGE
) -> Iterator[tuple[list[Due], Position]]:
    """Pages of one partner's overdue deliveries, after a position or back from it, each with the position of its end.
    Within a page the oldest comes first."""
    before = database_now() - timedelta(seconds=grace_s)
    beyond, order = ("<", "DESC") if back else (">", "ASC")
    at = start
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT {due_columns()}, next_attempt_at
                FROM delivery_delivery
                WHERE status = 'pending' AND partner_id = %s AND next_attempt_at < %s
                  AND (next_attempt_at, id) {beyond} (%s, %s)
                ORDER BY next_attempt_at {order}, id {order} LIMIT %s
                """,  # noqa: S608 - our own constants
                [partner_id, before, *at, size],
            )
            rows = cursor.fetchall()
        if rows:
            at = (rows[-1][-1], rows[-1][0])
            yield [Due(*row[:-1]) for row in (reversed(rows) if back else rows)], at
        if len(rows) < size:
            return


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
