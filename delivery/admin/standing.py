"""The section *Right now* at the top of the pages of partners and subscriptions: findings, and what waits.

Open pages reload it, so the cost of each query is bounded (see delivery.backlog, `SHOWN`, `_LOOKED_AT`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from delivery import stats
from delivery.admin.diagnosis import Facts, Finding, Side, findings
from delivery.live import Live, live
from delivery.models import Delivery
from partners import audit
from partners.admin.base import link
from partners.admin.looks import Kind, ago, badge, moment
from partners.models import FOREVER, Partner, Subscription
from partners.wording import span

TEMPLATE = "delivery/admin/standing.html"
WINDOW = timedelta(minutes=15)
REFRESH_S = 10
SHOWN = 10
_LOOKED_AT = 200
_SIDES: dict[Side, tuple[str, Kind]] = {
    Side.OURS: ("Ours", "danger"),
    Side.THEIRS: ("Theirs", "warning"),
    Side.SETTING: ("As set", "info"),
}
_BREAKERS: dict[str, Kind] = {"closed": "success", "half_open": "warning", "open": "danger"}


@dataclass(frozen=True, slots=True)
class Figure:
    title: str
    value: str | SafeString
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A finding as HTML."""

    side: SafeString
    title: str
    about: SafeString | str
    since: SafeString | str
    detail: str


def standing_context(partner: Partner, subscription: Subscription | None = None) -> dict[str, Any]:
    """The context of the section, for a partner or for one of its subscriptions, as they are saved: a form that was
    refused leaves its values in its object."""
    now = timezone.now()
    seen = live(partner.pk, now)
    mine = [subscription] if subscription else partner.subscriptions.filter(deleted_at=None).order_by("-id")
    facts = Facts(
        partner,
        list(mine),
        seen,
        stats.by_subscription(stats.Span(now - WINDOW, now, partner.pk)),
        WINDOW,
        _for_the_first(SHOWN, last_error),
        now,
        audit.last_made("partner.pause", partner) if partner.is_paused else None,
    )
    found = findings(facts)
    return {
        "standing": [_line(one, now, subscription) for one in found[:SHOWN]],
        "more_findings": max(len(found) - SHOWN, 0),
        "figures": [*_figures_of(subscription, seen, now), *_figures(partner, seen, now)],
        "standing_url": f"{reverse('admin:delivery_standing')}?partner={partner.pk}"
        + (f"&subscription={subscription.pk}" if subscription else ""),
        "standing_refresh_s": REFRESH_S,
    }


def standing_view(request: HttpRequest) -> HttpResponse:
    """The section alone, which pages reload every few seconds."""
    if not request.user.has_perm("delivery.view_delivery"):
        raise PermissionDenied
    partner = get_object_or_404(Partner, pk=request.GET.get("partner", ""))
    wanted = request.GET.get("subscription")
    subscription = get_object_or_404(Subscription, pk=wanted, partner=partner) if wanted else None
    return render(request, TEMPLATE, standing_context(partner, subscription))


def last_error(subscription: Subscription) -> str:
    """The last error of a recent failed delivery of the subscription, if one is found cheaply; else "".

    Looks at the partner's pending deliveries that are due first and last, then at the newest of the subscription.
    """
    pending = Delivery.objects.filter(partner=subscription.partner_id, status=Delivery.Status.PENDING)
    newest = Delivery.objects.filter(subscription=subscription)
    for deliveries in (
        pending.order_by("next_attempt_at"),
        pending.order_by("-next_attempt_at"),
        newest.order_by("-id"),
    ):
        rows = deliveries.values_list("subscription_id", "last_error")[:_LOOKED_AT]
        for owner, error in rows:
            if owner == subscription.pk and error:
                return str(error)
    return ""


def _for_the_first(most: int, ask: Callable[[Subscription], str]) -> Callable[[Subscription], str]:
    """Asks only so often, and answers "" after that: the findings that are not shown need no queries."""
    asked = count()
    return lambda subscription: ask(subscription) if next(asked) < most else ""


def _line(one: Finding, now: datetime, subscription: Subscription | None) -> Line:
    return Line(
        side=badge(*_SIDES[one.side]),
        title=one.title,
        about=link(one.about) if one.about and one.about != subscription else "",
        since=format_html("since {} ({})", moment(one.since), ago(one.since, now)) if one.since else "",
        detail=one.detail,
    )


def _figures(partner: Partner, seen: Live, now: datetime) -> Sequence[Figure]:
    """Figures of the partner's queue."""
    if seen.queue is None:
        return [Figure("Queue", "unknown", "Valkey does not answer")]
    queue, limit = seen.queue, partner.rate_limit_in_force
    until = queue.held_until
    held = until and ("held until somebody resumes" if until >= FOREVER else f"held, ends {ago(until, now)}")
    return [
        Figure("Waiting", f"{queue.waiting:,}", held or "sent as the limits allow"),
        Figure("Delayed", f"{queue.delayed:,}", "wait for their next attempt"),
        Figure("In flight", f"{queue.in_flight:,}", f"of {partner.max_in_flight} at a time"),
        Figure(
            "Tokens", "-" if queue.tokens is None else f"{queue.tokens:,}", f"of {limit}" if limit else "no rate limit"
        ),
        Figure("Oldest due", _age(seen.oldest_waiting_s(now)), "waiting, delayed or in flight"),
    ]


def _figures_of(subscription: Subscription | None, seen: Live, now: datetime) -> Iterator[Figure]:
    """Figures of one subscription, shown before those of the partner's queue."""
    if subscription is None:
        return
    breaker = seen.breaker(subscription.pk)
    probe = f"probe {ago(breaker.next_probe_at, now)}" if breaker.next_probe_at else ""
    since = f"since {breaker.since:%H:%M:%S} UTC" if breaker.since else ""
    name = breaker.state.replace("_", "-").capitalize()
    if seen.queue is None:
        yield Figure("Breaker", "unknown", "Valkey does not answer")
    else:
        yield Figure("Breaker", badge(name, _BREAKERS[breaker.state]), ", ".join(filter(None, (since, probe))))
    backlog = (seen.backlogs or {}).get(subscription.pk)
    pending = "many" if seen.backlogs is None else f"{backlog.pending:,}" if backlog else "0"
    age = _age(seen.oldest_waiting_s(now, {subscription.pk}))
    none = "too many to count" if seen.backlogs is None else "nothing is due"
    yield Figure("Pending here", pending, f"oldest waits {age}" if age != "-" else none)


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else span(timedelta(seconds=seconds))
