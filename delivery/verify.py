"""Checks the invariants of events, deliveries, attempts and the broker, which must hold whatever crashed. Read-only.

Each rule in RULES is a query for the ids that break it. Deliveries are checked by the hour of their ids, so that
millions of rows do not make one long query.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from delivery.broker import FairQueues, faults
from delivery.limits import wrong_limits
from delivery.reconcile import find_lost
from partners.identifiers import DELIVERY, first_id

LOST_AFTER_S = 60.0
"""Above the ten seconds between runs of reconciliation plus its ten seconds of grace."""
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that does not hold. `examples`: ids, or descriptions of faults in the broker."""

    rule: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule}: {self.count}, such as {', '.join(self.examples)}"


RULES = {
    "attempts are numbered from 1 to the delivery's count": """
        SELECT d.id FROM delivery_delivery d LEFT JOIN delivery_attempt a ON a.delivery_id = d.id
        WHERE d.id >= %(first)s AND d.id < %(end)s
        GROUP BY d.id HAVING count(a.number) <> d.attempt_count OR coalesce(max(a.number), 0) <> d.attempt_count
        """,
    "a succeeded delivery's last attempt succeeded": """
        SELECT d.id FROM delivery_delivery d
        LEFT JOIN delivery_attempt a ON a.delivery_id = d.id AND a.number = d.attempt_count
        WHERE d.id >= %(first)s AND d.id < %(end)s AND d.status = 'succeeded' AND a.error IS DISTINCT FROM ''
        """,
    "a dead delivery says why": """
        SELECT id FROM delivery_delivery
        WHERE id >= %(first)s AND id < %(end)s AND status = 'dead' AND last_error = ''
        """,
    "a delivery has its event": """
        SELECT d.id FROM delivery_delivery d LEFT JOIN delivery_event e ON e.id = d.event_id
        WHERE d.id >= %(first)s AND d.id < %(end)s AND e.id IS NULL
        """,
    "a delivery belongs to its subscription's partner": """
        SELECT d.id FROM delivery_delivery d LEFT JOIN partners_subscription s ON s.id = d.subscription_id
        WHERE d.id >= %(first)s AND d.id < %(end)s AND s.partner_id IS DISTINCT FROM d.partner_id
        """,
    "an attempt has its delivery": """
        SELECT a.delivery_id FROM delivery_attempt a LEFT JOIN delivery_delivery d ON d.id = a.delivery_id
        WHERE a.delivery_id >= %(first)s AND a.delivery_id < %(end)s AND d.id IS NULL
        """,
}
LOST = "the broker holds every delivery that is due"
LIMITS = "the broker has the limits of the partner's row"
QUEUES = "every message of the broker can be served, every lease has its worker"


def hours(since: datetime, until: datetime) -> Iterator[datetime]:
    """The start of each hour to pass to `verify_hour`."""
    moment = since
    while moment < until:
        yield moment
        moment += timedelta(hours=1)


def verify_hour(since: datetime) -> Iterator[Broken]:
    """Broken rules of the deliveries created in the hour from `since`. Raises django.db.Error."""
    names = {"first": first_id(DELIVERY, since), "end": first_id(DELIVERY, since + timedelta(hours=1))}
    for rule, sql in RULES.items():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*), (array_agg(id))[:{_EXAMPLES}] FROM ({sql}) AS broken (id)", names)  # noqa: S608 - ours
            count, examples = cursor.fetchone()
        if count:
            yield Broken(rule, count, tuple(examples))


def verify_broker(queues: FairQueues) -> Iterator[Broken]:
    """Broken rules between PostgreSQL and the broker, and in the broker. Raises django.db.Error or redis.RedisError."""
    lost = [due.message_id for _, page in find_lost(queues, LOST_AFTER_S) for due in page]
    yield from _broken(LOST, lost)
    yield from _broken(LIMITS, wrong_limits(queues))
    yield from _broken(QUEUES, list(faults(queues)))


def _broken(rule: str, found: list[str]) -> Iterator[Broken]:
    if found:
        yield Broken(rule, len(found), tuple(found[:_EXAMPLES]))
