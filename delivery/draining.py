"""Gives up a partner's pending deliveries and empties its queue: for a backlog that nobody wants any more.

The deliveries become dead and are kept, so a replay of failed deliveries brings them back. Deliveries that were still
to be made (delivery.fan_out) are not made; a replay of missing ones brings those back. Later events are delivered as
usual; to stop those, pause the partner or disable the subscription.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from delivery import publish
from delivery.broker import FairQueues
from delivery.clocks import database_now
from delivery.due import FAN_OUT_COLUMNS, due_columns, queued
from partners import audit
from partners.identifiers import DELIVERY, first_id
from partners.models import Partner

PAGE = 2_000
GIVEN_UP = "given up: the queue was drained"
_IN_FLIGHT_S = 60.0
"""Longer than an attempt takes."""


def waiting(partner: Partner, before: datetime | None, subscription_id: str = "") -> int:
    """How many deliveries and fan-outs `drain` would give up."""
    values = _values(partner, before or database_now(), subscription_id)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT (SELECT count(*) {_CHOSEN}) + (SELECT count(*) {_CHOSEN_FAN_OUTS})", values)
        return int(cursor.fetchone()[0])


def drain(partner: Partner, before: datetime | None = None, subscription_id: str = "") -> Iterator[int]:
    """Gives up deliveries and fan-outs created before this time (None: now), page by page; yields how many each page
    had. If one subscription is named, fan-outs stay, since they are of all.

    Waits for attempts in progress, and then gives up those of their deliveries that would be retried. Raises
    redis.RedisError and django.db.Error; another call continues.
    """
    queues, queue = publish.queues(), publish.queue_of(partner.pk)
    deadline = time.monotonic() + _IN_FLIGHT_S
    audit.record("partner.drain", partner, partner_id=partner.pk, after={"subscription_id": subscription_id})
    values = _values(partner, before or database_now(), subscription_id)
    while given_up := _execute(_GIVE_UP_FAN_OUTS, values):
        yield given_up
    values = _values(partner, before or database_now(), subscription_id)  # fan-outs may have made some until now
    while True:
        while given_up := _execute(_GIVE_UP, values):
            yield given_up
        queues.purge(queue)
        _queue_what_stays(partner.pk, queues)
        if not queues.stats([queue])[queue].in_flight or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    while given_up := _execute(_GIVE_UP, values):
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


_GIVE_UP = f"""
    UPDATE delivery_delivery
    SET status = 'dead', next_attempt_at = NULL, finished_at = now(), last_error = '{GIVEN_UP}'
    WHERE id IN (
        SELECT id FROM delivery_delivery
        WHERE id IN (SELECT id {_CHOSEN} ORDER BY next_attempt_at LIMIT {PAGE}) AND status = 'pending'
        ORDER BY id FOR UPDATE)
"""  # noqa: S608 - our own constants
"""Finds a page by the index of pending deliveries: ordered by id, each page would scan the table from its start. Locks
it in the order in which workers do."""
_GIVE_UP_FAN_OUTS = f"""
    DELETE FROM delivery_fanout WHERE id IN (SELECT id {_CHOSEN_FAN_OUTS} ORDER BY id LIMIT {PAGE} FOR UPDATE)
"""  # noqa: S608 - our own constants


def _execute(statement: str, values: dict[str, Any]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def _queue_what_stays(partner_id: str, queues: FairQueues) -> None:
    """A purge removes all messages. Queues again what stays: newer ones, of other subscriptions, fan-outs."""
    deliveries = f"SELECT {due_columns('extract(epoch FROM next_attempt_at)::float8')} FROM delivery_delivery"  # noqa: S608 - our own constants
    fan_outs = f"SELECT {FAN_OUT_COLUMNS} FROM delivery_fanout"  # noqa: S608 - our own constant
    for rows in (f"{deliveries} WHERE status = 'pending' AND", f"{fan_outs} WHERE"):
        after = ""
        while True:
            with connection.cursor() as cursor:
                cursor.execute(f"{rows} partner_id = %s AND id > %s ORDER BY id LIMIT %s", [partner_id, after, PAGE])
                found = cursor.fetchall()
            if not found:
                break
            publish.publish([queued(*row) for row in found], queues)
            after = found[-1][0]
