"""Finds pending deliveries that the broker does not hold, and queues them: after a wiped Valkey, or a lost message.
Limits that it does not have as the partners' rows do are written.

PostgreSQL is the truth. Each run asks, for every partner with overdue deliveries, about a page of the newest ones,
where most of what is lost is, and about a page of older ones: one run after the other goes back to the oldest. The
broker answers by exact message ids. A wiped Valkey has lost its marker as well, so then everything is queued anew at
once. Queueing what is queued already does nothing.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from kombu.utils.encoding import bytes_to_str

from delivery import publish
from delivery.broker import FairQueues
from delivery.clocks import database_now
from delivery.due import Due, due_columns
from delivery.limits import mend_limits
from partners.models import FOREVER

logger = logging.getLogger(__name__)

GRACE_S = 10.0
"""A delivery that is due for less than this may be on its way to the broker."""
PAGE = 5_000
_REACHED = "reconcile-reached:"
"""How far back the last run came, for each partner with more than it looked at."""
_REACHED_KEPT_S = 3600

Position = tuple[datetime, str]
"""Of a delivery among a partner's: when it is due, and its id."""
_OLDEST: Position = (datetime.min.replace(tzinfo=UTC), "")
_NEWEST: Position = (FOREVER, "")


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
    for looked_at, lost in (find_lost if was_wiped else look_back)(to, grace_s):
        queued += publish.publish(lost, to)
        checked += looked_at
    if was_wiped:
        queued += _queue_scheduled(to)
        to.mark()
    if queued:
        logger.warning("queued deliveries that the broker had lost", extra={"queued": queued, "checked": checked})
    return Reconciled(checked, queued, was_wiped)


def find_lost(of: FairQueues, grace_s: float = GRACE_S) -> Iterator[tuple[int, list[Due]]]:
    """For each page of overdue deliveries: how many those are, and which of them the broker does not hold.

    All of them, oldest first. Raises as `reconcile` does.
    """
    for partner_id in _partners_with_overdue(grace_s):
        for page, _ in _pages(partner_id, grace_s):
            yield len(page), publish.missing(partner_id, page, of=of)


def look_back(of: FairQueues, grace_s: float = GRACE_S, size: int = PAGE) -> Iterator[tuple[int, list[Due]]]:
    """The same for two pages of each partner, and for more where something is missing: back from the newest, and back
    from where the last run ended."""
    for partner_id in _partners_with_overdue(grace_s):
        yield from _look_back(partner_id, of, grace_s, size)


def _look_back(partner_id: str, of: FairQueues, grace_s: float, size: int) -> Iterator[tuple[int, list[Due]]]:
    at, reached = _NEWEST, _reached(partner_id, of)
    for start in (_NEWEST, reached or _NEWEST):
        for page, end in _pages(partner_id, grace_s, min(at, start), back=True, size=size):
            at = end
            lost = publish.missing(partner_id, page, of=of)
            yield len(page), lost
            if not lost and len(page) == size:
                break
        else:
            if reached:
                of.client.delete(_REACHED + partner_id)
            return
    of.client.set(_REACHED + partner_id, f"{at[0].isoformat()} {at[1]}", ex=_REACHED_KEPT_S)


def _reached(partner_id: str, of: FairQueues) -> Position | None:
    found = of.client.get(_REACHED + partner_id)
    if found is None:
        return None
    moment, _, delivery_id = bytes_to_str(found).partition(" ")
    return datetime.fromisoformat(moment), delivery_id


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


def _pages(
    partner_id: str, grace_s: float, start: Position = _OLDEST, *, back: bool = False, size: int = PAGE
) -> Iterator[tuple[list[Due], Position]]:
    """Overdue deliveries of one partner, from a position on or back from it, and where each page ends. In a page the
    oldest comes first."""
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


def _queue_scheduled(to: FairQueues) -> int:
    """Retries whose time has not come yet: queued again with their time."""
    queued = 0
    after = ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT {due_columns("extract(epoch FROM next_attempt_at - statement_timestamp())::float8")}
                FROM delivery_delivery WHERE status = 'pending' AND attempt_count > 0 AND id > %s ORDER BY id LIMIT %s
                """,  # noqa: S608 - our own constants
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
