"""What happened in a span of time, from the roll-ups: for the dashboards, the stats API and the alerts alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from delivery.histogram import SIZE, percentile

MINUTES_UP_TO = timedelta(hours=48)
"""A longer span is read from the hours."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is counted: from `since` to before `until`, of everybody, one partner, or one subscription."""

    since: datetime
    until: datetime
    partner_id: str | None = None
    subscription_id: str | None = None

    @property
    def resolution_s(self) -> int:
        return 60 if self.until - self.since <= MINUTES_UP_TO else 3600


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of a span, or of a part of it. Latencies in milliseconds; None when nothing was sent."""

    attempts: int
    failures: int
    succeeded: int
    dead: int
    latency_sum_ms: float
    histogram: tuple[int, ...]

    @property
    def error_share(self) -> float | None:
        """Failed attempts of all attempts, 0 to 1."""
        return self.failures / self.attempts if self.attempts else None

    @property
    def mean_ms(self) -> float | None:
        return self.latency_sum_ms / sum(self.histogram) if sum(self.histogram) else None

    def percentile_ms(self, share: float) -> float | None:
        return percentile(self.histogram, share)


NOTHING = Stats(0, 0, 0, 0, 0.0, (0,) * SIZE)


def total(span: Span) -> Stats:
    """One figure for all of the span."""
    return by("NULL::text", span).get(None, NOTHING)


def by_time(span: Span, step_s: int) -> dict[datetime, Stats]:
    """The span in steps of `step_s` seconds (a multiple of its resolution), as far as anything happened in them."""
    return by(f"to_timestamp(floor(extract(epoch FROM starts_at) / {step_s:d}) * {step_s:d})", span)


def by_partner(span: Span) -> dict[str, Stats]:
    return by("partner_id", span)


def by_subscription(span: Span) -> dict[str, Stats]:
    return by("subscription_id", span)


def by(key: str, span: Span) -> dict[Any, Stats]:
    """Stats by an SQL expression over roll-ups. `key` is ours, never an input."""
    where, values = _where(span)
    sql = f"""
        WITH chosen AS (SELECT {key} AS key, * FROM delivery_rollup WHERE {where}),
        buckets AS (
            SELECT key, array_agg(total ORDER BY place) AS histogram
            FROM (SELECT key, place, sum(count)::bigint AS total
                  FROM chosen, unnest(histogram) WITH ORDINALITY AS bucket (count, place) GROUP BY 1, 2) AS places
            GROUP BY 1
        )
        SELECT chosen.key, sum(attempts)::bigint, sum(failures)::bigint, sum(succeeded)::bigint, sum(dead)::bigint,
               sum(latency_sum_ms), (SELECT histogram FROM buckets WHERE buckets.key IS NOT DISTINCT FROM chosen.key)
        FROM chosen GROUP BY chosen.key ORDER BY chosen.key
    """  # noqa: S608 - made of our own constants
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return {row[0]: Stats(*row[1:6], tuple(row[6])) for row in cursor.fetchall()}  # type: ignore[call-arg]


def _where(span: Span) -> tuple[str, Sequence[Any]]:
    conditions = ["resolution_s = %s", "starts_at >= %s", "starts_at < %s"]
    values: list[Any] = [span.resolution_s, span.since, span.until]
    if span.partner_id is not None:
        conditions.append("partner_id = %s")
        values.append(span.partner_id)
    if span.subscription_id is not None:
        conditions.append("subscription_id = %s")
        values.append(span.subscription_id)
    return " AND ".join(conditions), values
