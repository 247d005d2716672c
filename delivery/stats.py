"""Counts and latencies of a span of time, read from the roll-ups: for the admin and the API."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from delivery.histogram import SIZE, percentile
from delivery.resolutions import HOUR_S, MINUTE_S, SUMMED_HISTOGRAM, made_until, starts_of

MINUTES_UP_TO = timedelta(hours=48)
"""Longer spans are read from roll-ups of hours, shorter ones from those of minutes."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """What to count: from `since` to before `until`, for all partners, one partner, or one subscription."""

    since: datetime
    until: datetime
    partner_id: str | None = None
    subscription_id: str | None = None
    coarsest_s: int = 0
    """The coarsest roll-ups to read, as far as they exist: that reads fewer rows. If `since` lies within a roll-up,
    counting starts with the next one. 0: minutes for a short span, hours for a long one."""

    @property
    def resolution_s(self) -> int:
        return self.coarsest_s or (HOUR_S if self.until - self.since > MINUTES_UP_TO else MINUTE_S)

    @property
    def in_whole_rollups(self) -> "Span":
        """Begins and ends with roll-ups of its resolution, because parts of them cannot be counted."""
        length = timedelta(seconds=self.resolution_s)
        since = self.since - (self.since - _EPOCH) % length
        until = self.until + (_EPOCH - self.until) % length
        return replace(self, since=since, until=until, coarsest_s=self.resolution_s)


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of a span, or of a part of it. Latencies are in milliseconds, and None if nothing was sent."""

    attempts: int
    failures: int
    succeeded: int
    dead: int
    latency_sum_ms: float
    histogram: tuple[int, ...]

    @property
    def error_share(self) -> float | None:
        """The share of attempts that failed, 0 to 1."""
        return self.failures / self.attempts if self.attempts else None

    @property
    def mean_ms(self) -> float | None:
        return self.latency_sum_ms / sum(self.histogram) if sum(self.histogram) else None

    def percentile_ms(self, share: float) -> float | None:
        return percentile(self.histogram, share)


NOTHING = Stats(0, 0, 0, 0, 0.0, (0,) * SIZE)


def summed(parts: Iterable[Stats]) -> Stats:
    """The sum of several stats. Add up histograms, never percentiles."""
    known = list(parts)
    return Stats(
        attempts=sum(one.attempts for one in known),
        failures=sum(one.failures for one in known),
        succeeded=sum(one.succeeded for one in known),
        dead=sum(one.dead for one in known),
        latency_sum_ms=sum(one.latency_sum_ms for one in known),
        histogram=tuple(map(sum, zip(*(one.histogram for one in (NOTHING, *known)), strict=True))),
    )


def by_subscription(span: Span) -> dict[str, Stats]:
    rows, values = _rows(span)
    sql = f"""
        SELECT subscription_id, sum(attempts)::bigint, sum(failures)::bigint, sum(succeeded)::bigint, sum(dead)::bigint,
               sum(latency_sum_ms), {SUMMED_HISTOGRAM}
        FROM ({rows}) AS chosen GROUP BY 1
    """  # noqa: S608 - made of our own constants
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return {row[0]: Stats(*row[1:6], tuple(row[6])) for row in cursor.fetchall()}  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class Overview:
    """The stats of a span, grouped in three ways."""

    by_time: dict[datetime, Stats]
    by_partner: dict[str, Stats]
    by_subscription: dict[str, Stats]


def overview(span: Span, step_s: int) -> Overview:
    """Groups a span by partner, by subscription, and by time in steps of `step_s` seconds (a multiple of the span's
    resolution), in one query. Groups in which nothing happened are left out."""
    rows, values = _rows(span)
    sql = f"""
        SELECT step, partner_id, subscription_id, sum(attempts)::bigint, sum(failures)::bigint, sum(succeeded)::bigint,
               sum(dead)::bigint, sum(latency_sum_ms), {SUMMED_HISTOGRAM}
        FROM (SELECT {starts_of(step_s)} AS step, * FROM ({rows}) AS chosen) AS stepped
        GROUP BY GROUPING SETS ((step), (partner_id), (subscription_id))
    """  # noqa: S608 - made of our own constants
    found = Overview({}, {}, {})
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        for step, partner_id, subscription_id, *counts, histogram in cursor.fetchall():
            one = Stats(*counts, tuple(histogram))  # type: ignore[call-arg]  # five counts
            if step is not None:
                found.by_time[step] = one
            elif partner_id is not None:
                found.by_partner[partner_id] = one
            else:
                found.by_subscription[subscription_id] = one
    return found


def _rows(span: Span) -> tuple[str, Sequence[Any]]:
    """SQL for the roll-ups of a span: the coarsest as far as they exist, then finer ones for the rest."""
    pieces, since = [], span.since
    made = made_until() if span.resolution_s > MINUTE_S else {}
    for resolution_s in sorted((one for one in made if one <= span.resolution_s), reverse=True):
        until = min(made[resolution_s], span.until)
        if until > since:
            pieces.append(_of(span, resolution_s, since, until))
            since = until
    pieces.append(_of(span, MINUTE_S, since, span.until))
    return " UNION ALL ".join(sql for sql, _ in pieces), [value for _, values in pieces for value in values]


def _of(span: Span, resolution_s: int, since: datetime, until: datetime) -> tuple[str, Sequence[Any]]:
    conditions = ["resolution_s = %s", "starts_at >= %s", "starts_at < %s"]
    values: list[Any] = [resolution_s, since, until]
    if span.partner_id is not None:
        conditions.append("partner_id = %s")
        values.append(span.partner_id)
    if span.subscription_id is not None:
        conditions.append("subscription_id = %s")
        values.append(span.subscription_id)
    return f"SELECT * FROM delivery_rollup WHERE {' AND '.join(conditions)}", values  # noqa: S608 - as above
