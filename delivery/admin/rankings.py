"""Rankings: the partners and endpoints with most failures, the slowest endpoints, the longest backlogs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from django.db.models import QuerySet

from delivery.backlog import TIMEOUT_S, Backlog
from delivery.live import open_breakers
from delivery.models import Delivery
from delivery.stats import Stats
from partners.admin.base import list_url, url_of
from partners.admin.looks import ago, milliseconds
from partners.models import Partner, Subscription
from partners.wording import span

SHOWN = 8
SLOW_SHARE = 0.95
_MOMENT = timedelta(seconds=1)
FEWEST_ATTEMPTS = 5
"""Endpoints with fewer attempts are not ranked by latency."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a ranking. `share`: its length in percent of the longest bar."""

    name: str
    address: str
    value: str
    share: float


@dataclass(frozen=True, slots=True)
class BarList:
    """`kind` is the CSS class of the bars: danger, warning, info."""

    title: str
    kind: str
    bars: Sequence[Bar]
    empty: str


def failing_partners(found: Mapping[str, Stats]) -> BarList:
    bars = _ranked(found, Partner.objects.all(), lambda one: one.failures, _failures)
    return BarList("Failing partners", "danger", bars, "Nothing failed.")


def failing_endpoints(found: Mapping[str, Stats]) -> BarList:
    bars = _ranked(found, _SUBSCRIPTIONS, lambda one: one.failures, _failures)
    return BarList("Failing endpoints", "danger", bars, "Nothing failed.")


def down_endpoints(now: datetime) -> BarList:
    """Endpoints in use whose breakers are not closed; those that have been down for longest come first."""
    title = "Endpoints that are down"
    try:
        found = open_breakers(now)
    except redis.RedisError:
        return BarList(title, "danger", [], "Valkey does not answer.")
    known = _SUBSCRIPTIONS.filter(is_enabled=True).in_bulk(list(found))
    since = {key: found[key].since or now for key in known}
    longest = sorted(since, key=lambda key: since[key])[:SHOWN]
    bars = [
        Bar(
            name=_name(known[key]),
            address=url_of(Subscription, key),
            value=span(now - since[key]),
            share=100 * (now - since[key]) / max(now - since[longest[0]], _MOMENT),
        )
        for key in longest
    ]
    return BarList(title, "danger", bars, "None.")


def slowest_endpoints(found: Mapping[str, Stats]) -> BarList:
    enough = {key: one for key, one in found.items() if sum(one.histogram) >= FEWEST_ATTEMPTS}
    bars = _ranked(enough, _SUBSCRIPTIONS, _slowness, lambda one: milliseconds(_slowness(one)))
    return BarList("Slowest endpoints (p95)", "warning", bars, "Too few attempts to tell.")


def longest_backlogs(found: Mapping[str, Backlog] | None, now: datetime) -> BarList:
    if found is None:
        return BarList("Longest backlogs", "info", [], f"More than can be counted in {TIMEOUT_S:g} s.")
    most = dict(list(found.items())[:SHOWN])
    names = Partner.objects.in_bulk(list(most))
    longest = max((one.pending for one in most.values()), default=1)
    bars = [
        Bar(
            name=str(names.get(key, key)),
            address=list_url(Delivery, partner__id__exact=key, status__exact="pending"),
            value=f"{one.pending:,}, {'due' if one.next_attempt_at <= now else 'next'} {ago(one.next_attempt_at, now)}",
            share=100 * one.pending / longest,
        )
        for key, one in most.items()
    ]
    return BarList("Longest backlogs", "info", bars, "Nothing waits.")


_SUBSCRIPTIONS: "QuerySet[Subscription]" = Subscription.objects.select_related("partner").defer("transformation")


def _ranked(
    found: Mapping[str, Stats], rows: "QuerySet[Any]", size: Callable[[Stats], float], text: Callable[[Stats], str]
) -> Sequence[Bar]:
    most = sorted((key for key, one in found.items() if size(one) > 0), key=lambda key: -size(found[key]))[:SHOWN]
    known = rows.in_bulk(most)
    longest = max((size(found[key]) for key in most), default=1)
    return [
        Bar(
            name=_name(known[key]) if key in known else key,
            address=url_of(rows.model, key),
            value=text(found[key]),
            share=100 * size(found[key]) / longest,
        )
        for key in most
    ]


def _name(row: Partner | Subscription) -> str:
    return f"{row.partner}: {row}" if isinstance(row, Subscription) else str(row)


def _failures(one: Stats) -> str:
    share = one.error_share or 0
    return f"{one.failures:,} ({'<1%' if share < 0.005 else f'{share:.0%}'})"


def _slowness(one: Stats) -> float:
    return one.percentile_ms(SLOW_SHARE) or 0.0
