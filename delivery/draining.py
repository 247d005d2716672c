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

    Waits for attempts in progress, and then removes the retries that they have queued. Raises redis.RedisError and
    django.db.Error; another call continues.
    """
    queues = publish.queues()
    audit.record("partner.drain", partner, partner_id=partner.pk, after={"subscription_id": subscription_id})
    values = _values(partner, before or database_now(), subscription_id)
    yield from _pages(_GIVE_UP_FAN_OUTS, values)
    values = _values(partner, before or database_now(), subscription_id)  # fan-outs may have made some until now
    yield from _pages(_GIVE_UP, values)
    if _empty(partner.pk, queues):
        deadline = time.monotonic() + _IN_FLIGHT_S
        while _in_flight(partner.pk, queues) and time.monotonic() < deadline:
            time.sleep(0.5)
        yield from _pages(_GIVE_UP, values)
        _empty(partner.pk, queues)


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


def _pages(statement: str, values: dict[str, Any]) -> Iterator[int]:
    """Executes it until it finds nothing; yields the number of rows of each time."""
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)
            count = int(cursor.rowcount)
        if not count:
            return
        yield count


def _in_flight(partner_id: str, queues: FairQueues) -> int:
    queue = publish.queue_of(partner_id)
    return queues.stats([queue])[queue].in_flight


def _empty(partner_id: str, queues: FairQueues) -> int:
    """Removes all messages, and queues again what stays: newer ones, of other subscriptions, fan-outs. Returns how many
    attempts were in progress."""
    queues.purge(publish.queue_of(partner_id))
    in_flight = _in_flight(partner_id, queues)
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
    return in_flight
