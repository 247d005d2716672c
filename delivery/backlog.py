"""The backlog: what waits, by partner or by subscription, counted in indexes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db import OperationalError, connection

from partners.query_time import TooSlow, limited

TIMEOUT_S = 2.0
STEP_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Backlog:
    """The number of pending deliveries (and of fan-outs, by partner), and when the first of them is due."""

    pending: int
    next_attempt_at: datetime


def backlog_by(
    key: Literal["partner_id", "subscription_id"], partner_id: str | None = None, timeout_s: float = TIMEOUT_S
) -> Mapping[str, Backlog] | None:
    """The backlogs of all partners or of one, largest first; None when PostgreSQL cannot count them in time."""
    try:
        with limited(timeout_s), connection.cursor() as cursor:
            cursor.execute(_COUNT[key], {"partner": partner_id})
            return {row[0]: Backlog(row[1], row[2]) for row in cursor.fetchall()}
    except (TooSlow, OperationalError):
        return None


def first_due(partner_id: str) -> Mapping[str, datetime]:
    """When the first of the partner's pending deliveries was or will be due, by its subscription: one index step,
    however long the backlog is. Empty if there is none, or when PostgreSQL does not answer in time."""
    try:
        with limited(STEP_TIMEOUT_S), connection.cursor() as cursor:
            cursor.execute(_FIRST, [partner_id])
            return dict(cursor.fetchall())
    except (TooSlow, OperationalError):
        return {}


_FIRST = """
    SELECT subscription_id, next_attempt_at FROM delivery_delivery
    WHERE status = 'pending' AND partner_id = %s ORDER BY next_attempt_at LIMIT 1
    """
_COUNT = {
    "partner_id": """
        SELECT partner_id, count(*) AS pending, min(due_at) FROM (
            SELECT partner_id, next_attempt_at AS due_at FROM delivery_delivery WHERE status = 'pending'
            UNION ALL SELECT partner_id, created_at FROM delivery_fanout
        ) AS waiting
        WHERE %(partner)s::text IS NULL OR partner_id = %(partner)s GROUP BY 1 ORDER BY 2 DESC, 1
        """,
    "subscription_id": """
        SELECT subscription_id, count(*) AS pending, min(next_attempt_at) FROM delivery_delivery
        WHERE status = 'pending' AND (%(partner)s::text IS NULL OR partner_id = %(partner)s)
        GROUP BY 1 ORDER BY 2 DESC, 1
        """,
}
