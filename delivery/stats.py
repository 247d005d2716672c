"""Counts and latencies of a span of time, read from the roll-ups: for the admin and the API."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from delivery.histogram import SIZE, percentile
from delivery.resolutions import DAY_S, LATE, MINUTE_S, SUMMED_HISTOGRAM, ceiling, floor, made_until, starts_of


@dataclass(frozen=True, slots=True)
class Span:
    """What to count: from `since` to before `until`, for all partners, one partner, or one subscription."""

    since: datetime
    until: datetime
    partner_id: str | None = None
    subscription_id: str | None = None


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
    rows, values = _rows(span, DAY_S)
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
    """Groups a span by partner, by subscription, and by time in steps of `step_s` seconds (whole minutes), in one
    query. Groups in which nothing happened are left out."""
    rows, values = _rows(span, step_s)
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


def _rows(span: Span, step_s: int) -> tuple[str, Sequence[Any]]:
    """SQL for the roll-ups of a span, none longer than a step: as coarse as they exist, so that few rows are read. The
    latest are fine ones, since minutes may still be missing in the coarse."""
    settled_until = timezone.now() - LATE
    coarser = made_until() if step_s > MINUTE_S and span.since < settled_until else {}
    made = {one: min(until, settled_until) for one, until in coarser.items() if step_s % one == 0}
    pieces = [_of(span, *piece) for piece in _pieces(span.since, span.until, sorted(made.items(), reverse=True))]
    return " UNION ALL ".join(sql for sql, _ in pieces), [value for _, values in pieces for value in values]


def _pieces(
    since: datetime, until: datetime, made: Sequence[tuple[int, datetime]]
) -> Iterator[tuple[int, datetime, datetime]]:
    """The parts of a span by resolution: the whole roll-ups of the coarsest, and before and after them finer ones.
    `made`: the coarser resolutions, coarsest first, and until when each exists."""
    if since >= until:
        return
    if not made:
        yield MINUTE_S, since, until
        return
    (resolution_s, exists_until), *finer = made
    begin, end = ceiling(since, resolution_s), floor(min(until, exists_until), resolution_s)
    if begin >= end:
        yield from _pieces(since, until, finer)
        return
    yield from _pieces(since, begin, finer)
    yield resolution_s, begin, end
    yield from _pieces(end, until, finer)


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
