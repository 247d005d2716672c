"""Coarser roll-ups, summed from finer ones, so that a month of thousands of subscriptions is read as fast as an hour.

Workers write the minutes (delivery.rollups). A maintenance task sums each coarser resolution from the next finer one.
The coarse roll-ups have no gaps: readers use them as far as they reach, and finer ones for the time since.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from django.db import connection

from delivery.histogram import SIZE

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
RESOLUTIONS_S = (MINUTE_S, 10 * MINUTE_S, HOUR_S, 6 * HOUR_S, DAY_S)
"""Each divides the next. In every resolution a window starts at midnight UTC."""
LATE = timedelta(minutes=30)
"""Minutes may be written this late, so windows that ended within this time are summed again. After an outage, in which
no windows were made, this time counts from the last of them: workers write their minutes when PostgreSQL is back."""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)

# One sum for each bucket, in one pass: unnesting the histograms took twenty times as long.
SUMMED_HISTOGRAM = f"ARRAY[{', '.join(f'sum(histogram[{place}])::bigint' for place in range(1, SIZE + 1))}]"


def starts_of(step_s: int) -> str:
    """SQL for the start of the step that contains a roll-up."""
    return f"to_timestamp(floor(extract(epoch FROM starts_at) / {step_s:d}) * {step_s:d})"


def made_until() -> Mapping[int, datetime]:
    """The end of the last roll-up of each coarser resolution that has any."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT one, (SELECT max(starts_at) FROM delivery_rollup WHERE resolution_s = one)
            FROM unnest(%s::int[]) AS one
            """,
            [list(RESOLUTIONS_S[1:])],
        )
        return {one: last + timedelta(seconds=one) for one, last in cursor.fetchall() if last is not None}


def roll_up(now: datetime) -> int:
    """Sums the missing windows of each resolution, and the latest ones again; returns how many rows. Idempotent."""
    made = made_until()
    again_since = min(made.get(RESOLUTIONS_S[1], now), now) - LATE
    return sum(
        _make(coarse, fine, min(made.get(coarse, _EVER), again_since), now) for fine, coarse in pairwise(RESOLUTIONS_S)
    )


def _make(step_s: int, fine_s: int, since: datetime, now: datetime) -> int:
    """Sums windows that have ended, replacing rows that exist."""
    since, until = floor(since, step_s), floor(now, step_s)
    values: dict[str, int | datetime] = {"fine_s": fine_s, "since": since, "until": until}
    with connection.cursor() as cursor:
        cursor.execute(_MAKE.format(step_s=step_s, starts_at=starts_of(step_s), histogram=SUMMED_HISTOGRAM), values)
        return int(cursor.rowcount)


def floor(moment: datetime, step_s: int) -> datetime:
    """The start of the step that contains this time."""
    return moment - (moment - _EVER) % timedelta(seconds=step_s)


def ceiling(moment: datetime, step_s: int) -> datetime:
    """The start of the first step that does not begin before this time."""
    return moment + (_EVER - moment) % timedelta(seconds=step_s)


_MAKE = """
INSERT INTO delivery_rollup
       (resolution_s, starts_at, subscription_id, partner_id, attempts, failures, succeeded, dead, latency_sum_ms,
        histogram)
SELECT {step_s}, {starts_at} AS step, subscription_id, min(partner_id), sum(attempts), sum(failures), sum(succeeded),
       sum(dead), sum(latency_sum_ms), {histogram}::int[]
FROM delivery_rollup WHERE resolution_s = %(fine_s)s AND starts_at >= %(since)s AND starts_at < %(until)s
GROUP BY step, subscription_id
ON CONFLICT (resolution_s, starts_at, subscription_id) DO UPDATE SET
    attempts = excluded.attempts, failures = excluded.failures, succeeded = excluded.succeeded, dead = excluded.dead,
    latency_sum_ms = excluded.latency_sum_ms, histogram = excluded.histogram
"""
