"""Gives up a partner's pending deliveries and empties its queue: for a backlog that nobody wants any more.

The deliveries become dead and are kept, so a replay of failed deliveries brings them back. Deliveries that were still
to be made (delivery.fan_out) are not made; a replay of missing ones brings those back. Later events are delivered as
usual; to stop those, pause the partner or disable the subscription.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from delivery import publish
from delivery.broker import FairQueues
from delivery.due import Due, FanOutDue, due_columns
from delivery.overdue import pages
from partners import audit
from partners.identifiers import DELIVERY, first_id
from partners.models import Partner

PAGE = 2_000
GIVEN_UP = "given up: the queue was drained"
_IN_FLIGHT_S = 60.0
"""Longer than an attempt takes."""


def waiting(partner: Partner, before: datetime, subscription_id: str = "") -> int:
    """How many deliveries and fan-outs, created before this time, `drain` would give up."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (SELECT count(*) {_CHOSEN}) + (SELECT count(*) {_CHOSEN_FAN_OUTS})",
            _values(partner, before, subscription_id),
        )
        return int(cursor.fetchone()[0])


def drain(
    partner: Partner,
    before: datetime,
    subscription_id: str = "",
    *,
    of: FairQueues | None = None,
    rest: Callable[[float], None] = time.sleep,
) -> Iterator[int]:
    """Gives up deliveries and fan-outs created before this time, page by page; yields how many each page had. Fan-outs
    are of all subscriptions, so they stay if one subscription is named.

    Waits for attempts in progress, and then gives up those of their deliveries that would be retried. Raises
    redis.RedisError and django.db.Error; another call continues.
    """
    queues, queue = of or publish.queues(), publish.queue_of(partner.pk)
    values = _values(partner, before, subscription_id)
    deadline = time.monotonic() + _IN_FLIGHT_S
    audit.record("partner.drain", partner, partner_id=partner.pk, after={"subscription_id": subscription_id})
    while True:
        while given_up := _give_up(values):
            yield given_up
        queues.purge(queue)
        _queue_what_stays(partner.pk, queues)
        if not queues.stats([queue])[queue].in_flight or time.monotonic() > deadline:
            break
        rest(0.5)
    while given_up := _give_up(values):
        yield given_up


_CHOSEN = """
    FROM delivery_delivery
    WHERE partner_id = %(partner)s AND status = 'pending' AND id < %(bound)s
      AND (%(subscription)s = '' OR subscription_id = %(subscription)s)
"""


_CHOSEN_FAN_OUTS = """
    FROM delivery_fanout WHERE partner_id = %(partner)s AND created_at < %(before)s AND %(subscription)s = ''
"""


def _values(partner: Partner, before: datetime, subscription_id: str) -> dict[str, Any]:
    bound = first_id(DELIVERY, before)
    return {"partner": partner.pk, "before": before, "bound": bound, "subscription": subscription_id}


def _give_up(values: dict[str, Any]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE delivery_delivery
            SET status = 'dead', next_attempt_at = NULL, finished_at = now(), last_error = %(reason)s
            WHERE id IN (SELECT id {_CHOSEN} ORDER BY id LIMIT {PAGE} FOR UPDATE)
            """,  # noqa: S608 - our own constants
            {**values, "reason": GIVEN_UP},
        )
        given_up = int(cursor.rowcount)
        cursor.execute(
            f"DELETE FROM delivery_fanout WHERE id IN (SELECT id {_CHOSEN_FAN_OUTS} LIMIT {PAGE} FOR UPDATE)",  # noqa: S608 - our own constants
            values,
        )
        return given_up + int(cursor.rowcount)


def _queue_what_stays(partner_id: str, queues: FairQueues) -> None:
    """A purge removes all messages. Queues again what stays: newer ones, of other subscriptions, fan-outs."""
    for page, _ in pages(partner_id, grace_s=0):
        publish.publish([one for one in page if isinstance(one, FanOutDue)], queues)
    after = ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                SELECT {due_columns("extract(epoch FROM next_attempt_at)::float8")}
                FROM delivery_delivery WHERE partner_id = %s AND status = 'pending' AND id > %s ORDER BY id LIMIT %s
                """,  # noqa: S608 - our own constants
                [partner_id, after, PAGE],
            )
            rows = cursor.fetchall()
        if not rows:
            return
        publish.publish([Due(*row) for row in rows], queues)
        after = rows[-1][0]
