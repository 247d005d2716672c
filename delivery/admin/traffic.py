"""Counts, latencies and rankings of all partners or of one, over a range of time.

All but the backlog and the breakers is read from the roll-ups (delivery.stats), so the cost does not depend on the
number of attempts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.safestring import SafeString

from delivery import stats
from delivery.admin.charts import Series, lines, stacked_bars
from delivery.admin.rankings import (
    BarList,
    down_endpoints,
    failing_endpoints,
    failing_partners,
    longest_backlogs,
    slowest_endpoints,
)
from delivery.backlog import TIMEOUT_S, Backlog, backlog_by
from delivery.models import Delivery
from delivery.resolutions import DAY_S, HOUR_S, MINUTE_S, floor
from partners.admin.base import list_url
from partners.admin.looks import ago, milliseconds
from partners.models import Partner


@dataclass(frozen=True, slots=True)
class Range:
    name: str
    length: timedelta
    step_s: int
    """The step of the charts."""
    fresh_s: int
    """How long its figures are cached: longer ranges cost more to read and change less."""


RANGES = {
    "1h": Range("1 h", timedelta(hours=1), MINUTE_S, fresh_s=8),
    "6h": Range("6 h", timedelta(hours=6), 10 * MINUTE_S, fresh_s=30),
    "24h": Range("24 h", timedelta(hours=24), HOUR_S, fresh_s=60),
    "7d": Range("7 days", timedelta(days=7), 6 * HOUR_S, fresh_s=120),
    "30d": Range("30 days", timedelta(days=30), DAY_S, fresh_s=300),
}
DEFAULT_RANGE = "1h"

Reader = Callable[[stats.Span, int], stats.Overview]


@dataclass(frozen=True, slots=True)
class Card:
    title: str
    value: str
    note: str = ""
    kind: str = ""
    address: str = ""
    """Of a list of the counted objects."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The context of the template."""

    cards: Sequence[Card]
    attempts: SafeString
    latency: SafeString
    lists: Sequence[BarList]


def traffic(range_: Range, now: datetime, whose: Partner | None = None, read: Reader = stats.overview) -> Traffic:
    span = _span(range_, now, whose)
    counted = read(span, range_.step_s)
    times = _steps(span, range_)
    in_steps = [counted.by_time.get(moment, stats.NOTHING) for moment in times]
    total = stats.summed(counted.by_time.values())
    backlog = backlog_by("partner_id", whose.pk if whose else None)
    lists = [slowest_endpoints(counted.by_subscription)]
    if whose is None:
        lists = [
            down_endpoints(now), failing_partners(counted.by_partner), *lists, longest_backlogs(backlog, now)
        ]  # fmt: skip
    else:
        lists.append(failing_endpoints(counted.by_subscription))
    return Traffic(
        cards=_cards(total, span, backlog, now),
        attempts=_attempts_chart(times, in_steps),
        latency=_latency_chart(times, in_steps),
        lists=lists,
    )


def _span(range_: Range, now: datetime, whose: Partner | None) -> stats.Span:
    """The span of the range, in whole steps, up to the end of the present step."""
    until = floor(now, range_.step_s) + timedelta(seconds=range_.step_s)
    return stats.Span(until - range_.length, until, whose.pk if whose else None)


def _cards(
    total: stats.Stats, span: stats.Span, backlog: Mapping[str, Backlog] | None, now: datetime
) -> Sequence[Card]:
    seconds = max((min(now, span.until) - span.since).total_seconds(), 1)
    well = None if total.error_share is None else 1 - total.error_share
    return [
        Card("Attempts", f"{total.attempts:,}", f"{total.attempts / seconds:.3g} a second on average"),
        Card("Succeed", "-" if well is None else f"{well:.2%}", f"{total.failures:,} failed", _health(well)),
        Card("Latency (p50)", _latency(total, 0.5), f"p95 {_latency(total, 0.95)}, p99 {_latency(total, 0.99)}"),
        Card("Dead", f"{total.dead:,}", "deliveries given up", "danger" if total.dead else ""),
        _backlog_card(backlog, span, now),
    ]


def _backlog_card(backlog: Mapping[str, Backlog] | None, span: stats.Span, now: datetime) -> Card:
    whose = {"partner__id__exact": span.partner_id} if span.partner_id else {}
    pending = list_url(Delivery, status__exact=Delivery.Status.PENDING, **whose)
    if backlog is None:
        return Card("Backlog", "many", f"more than can be counted in {TIMEOUT_S:g} s", "danger", pending)
    due = [one.next_attempt_at for one in backlog.values() if one.next_attempt_at <= now]
    note = f"the oldest due {ago(min(due), now)}" if due else "nothing is due"
    return Card("Backlog", f"{sum(one.pending for one in backlog.values()):,}", note, address=pending)


def _health(well: float | None) -> str:
    if well is None:
        return ""
    return "success" if well >= 0.99 else "warning" if well >= 0.9 else "danger"


def _latency(total: stats.Stats, share: float) -> str:
    found = total.percentile_ms(share)
    return "-" if found is None else milliseconds(found)


def _steps(span: stats.Span, range_: Range) -> list[datetime]:
    count = int((span.until - span.since).total_seconds()) // range_.step_s
    return [span.since + timedelta(seconds=step * range_.step_s) for step in range(count)]


def _attempts_chart(times: Sequence[datetime], found: Sequence[stats.Stats]) -> SafeString:
    return stacked_bars(
        times,
        [
            Series("succeeded", "success", [one.attempts - one.failures for one in found]),
            Series("failed", "danger", [one.failures for one in found]),
        ],
    )


def _latency_chart(times: Sequence[datetime], found: Sequence[stats.Stats]) -> SafeString:
    series = [
        Series(name, name, [one.percentile_ms(share) for one in found])
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    ]
    return lines(times, series, "ms")
