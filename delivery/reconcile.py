"""Finds pending deliveries that the broker does not hold, and queues them: after a wiped Valkey, or a lost message.
Limits that it does not have as the partners' rows do are written.

PostgreSQL is the truth. Each run asks, for every partner with overdue deliveries, about its oldest ones, a page at a
time: the broker answers by exact message ids. A wiped Valkey has lost its marker as well, so then everything is queued
anew at once. Queueing what is queued already does nothing.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from delivery import publish
from delivery.broker import FairQueues
from delivery.clocks import database_now
from delivery.due import Due
from delivery.limits import mend_limits

logger = logging.getLogger(__name__)

GRACE_S = 10.0
"""A delivery that is due for less than this may be on its way to the broker."""
PAGE = 5_000
PAGES_PER_RUN = 2


@dataclass(frozen=True, slots=True)
class Reconciled:
    checked: int
    queued: int
    was_wiped: bool


def reconcile(queues: FairQueues | None = None, grace_s: float = GRACE_S) -> Reconciled:
    """One run. Raises redis.RedisError or django.db.Error; a later run does what this one could not."""
    to = queues or publish.queues()
    was_wiped = to.was_wiped()
    if was_wiped:
        logger.warning("the broker has lost its memory: queueing everything again")
    mend_limits(to)
    checked = queued = 0
    for looked_at, lost in find_lost(to, grace_s, pages=None if was_wiped else PAGES_PER_RUN):
        queued += publish.publish(lost, to)
        checked += looked_at
    if was_wiped:
        queued += _queue_scheduled(to)
        to.mark()
    if queued:
        logger.warning("queued deliveries that the broker had lost", extra={"queued": queued, "checked": checked})
    return Reconciled(checked, queued, was_wiped)


def find_lost(of: FairQueues, grace_s: float = GRACE_S, pages: int | None = None) -> Iterator[tuple[int, list[Due]]]:
    """For each page of overdue deliveries: how many those are, and which of them the broker does not hold.

    `pages` of each partner are enough where nothing is missing (None: all are looked at). Raises as `reconcile` does.
    """
    for partner_id in _partners_with_overdue(grace_s):
        for number, page in enumerate(_pages(partner_id, grace_s), start=1):
            lost = publish.missing(partner_id, page, of=of)
            yield len(page), lost
            if pages is not None and number >= pages and not lost:
                break


def _partners_with_overdue(grace_s: float) -> list[str]:
    """By skipping from partner to partner in the index of pending deliveries: a million rows of one cost one step."""
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


def _pages(partner_id: str, grace_s: float) -> Iterator[list[Due]]:
    """Overdue deliveries of one partner, oldest first."""
    before = database_now() - timedelta(seconds=grace_s)
    after: tuple[datetime, str] = (datetime.min.replace(tzinfo=UTC), "")
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT id, attempt_count + 1, partner_id, event_type, NULL,
                       brought_forward IS NOT DISTINCT FROM attempt_count + 1, next_attempt_at
                FROM delivery_delivery
                WHERE status = 'pending' AND partner_id = %s AND next_attempt_at < %s
                  AND (next_attempt_at, id) > (%s, %s)
                ORDER BY next_attempt_at, id LIMIT %s
                """,
                [partner_id, before, *after, PAGE],
            )
            rows = cursor.fetchall()
        if not rows:
            return
        yield [Due(*row[:-1]) for row in rows]
        after = (rows[-1][-1], rows[-1][0])


def _queue_scheduled(to: FairQueues) -> int:
    """Retries whose time has not come yet: queued again with their time."""
    queued = 0
    after = ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT id, attempt_count + 1, partner_id, event_type,
                       extract(epoch FROM next_attempt_at - statement_timestamp())::float8,
                       brought_forward IS NOT DISTINCT FROM attempt_count + 1
                FROM delivery_delivery WHERE status = 'pending' AND attempt_count > 0 AND id > %s ORDER BY id LIMIT %s
                """,
                [after, PAGE],
            )
            rows = cursor.fetchall()
        if not rows:
            return queued
        now = time.time()
        queued += publish.publish(
            [Due(id_, number, to_, type_, now + in_s, sooner) for id_, number, to_, type_, in_s, sooner in rows], to
        )
        after = rows[-1][0]
