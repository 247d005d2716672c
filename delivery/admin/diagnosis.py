"""Why a partner gets fewer deliveries than it should: because of us, its endpoint, or a setting? Pure.

Staff need this first when a partner calls. Each finding says whose fault it is, since when, and what the endpoint
answered last; no finding means that nothing is wrong.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from delivery.live import Live, Queue
from delivery.stats import NOTHING, Stats
from partners.models import FOREVER, Partner, Subscription
from partners.validation import per_second
from partners.wording import counted, span

BEHIND_S = 60.0
"""A delivery that nothing holds back and that has been due for this long is our fault."""
FAILING_SHARE = 0.05
_Reason = Subscription.DisabledReason


class Side(StrEnum):
    OURS = "ours"
    THEIRS = "theirs"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Finding:
    """`about` is the subscription concerned, or None if it is the whole partner."""

    side: Side
    title: str
    since: datetime | None = None
    detail: str = ""
    about: Subscription | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """`recent`: the attempts within `window`, by subscription. `last_error` returns the last error of a subscription.

    `paused_at`: the start of the present pause, if known.
    """

    partner: Partner
    subscriptions: Sequence[Subscription]
    live: Live
    recent: Mapping[str, Stats]
    window: timedelta
    last_error: Callable[[Subscription], str]
    now: datetime
    paused_at: datetime | None = None

    def is_open(self, subscription: Subscription) -> bool:
        """Whether nothing about the subscription holds its deliveries back."""
        return subscription.is_enabled and self.live.breaker(subscription.pk).state == "closed"


def findings(facts: Facts) -> list[Finding]:
    """First what is our fault, then what holds the whole partner back, then findings about endpoints."""
    found = [*_everybody(facts.live)]
    if facts.live.queue is not None:
        found += [*_pace(facts, facts.live.queue)]
        if not found and (behind := _behind(facts)):
            found.append(behind)
    if not facts.subscriptions:
        found.append(Finding(Side.SETTING, "No subscription: nothing is sent"))
    return [*found, *(one for each in facts.subscriptions for one in _endpoint(facts, each))]


def _everybody(live: Live) -> Iterator[Finding]:
    if live.queue is None:
        yield Finding(Side.OURS, "The queues do not answer: nothing is sent to anybody", detail="Valkey is away.")
    elif not live.workers:
        yield Finding(Side.OURS, "No worker runs: nothing is sent to anybody")


def _pace(facts: Facts, queue: Queue) -> Iterator[Finding]:
    partner, oldest = facts.partner, _since(facts)
    waiting = counted(queue.waiting, "delivery", "deliveries")
    if partner.is_paused:
        ends = "" if partner.paused_until in {None, FOREVER} else f", ends {partner.paused_until:%Y-%m-%d %H:%M} UTC"
        yield Finding(Side.SETTING, f"Paused by {partner.paused_by or 'staff'}{ends}", facts.paused_at)
    elif queue.held_until is not None and any(map(facts.is_open, facts.subscriptions)):
        title = "Nothing is sent: an endpoint keeps the sender busy with what is no answer"
        yield Finding(Side.THEIRS, title, oldest, f"It is tried again at {queue.held_until:%H:%M:%S} UTC or later.")
    elif queue.waits_for_rate:
        limit = partner.rate_limit_in_force
        pace = per_second(limit)
        left = timedelta(seconds=math.ceil(queue.waiting / pace)) if pace else timedelta()
        title = f"{waiting} must wait for the rate limit of {limit}"
        yield Finding(Side.SETTING, title, _since(facts, _open(facts)), f"At this rate they take {span(left)}.")
    elif queue.waits_for_answers(partner.max_in_flight) and facts.live.oldest_fan_out_at is not None:
        title = f"{counted(queue.waiting, 'message')} must wait: the {partner.max_in_flight} that may be in flight are"
        detail = "They are requests, or events whose deliveries are made for many subscriptions or with slow filters."
        yield Finding(Side.SETTING, title, oldest, detail)
    elif queue.waits_for_answers(partner.max_in_flight):
        yield Finding(
            Side.THEIRS,
            f"{waiting} must wait for answers: all {partner.max_in_flight} requests are in flight",
            oldest,
            "The endpoint is slow, or the in-flight cap is too small for this many events.",
        )


def _behind(facts: Facts) -> Finding | None:
    """Deliveries are due, or still to be made, nothing holds them back, and they are not sent."""
    live = facts.live
    free = _open(facts)
    is_held = live.queue is not None and live.queue.held_until is not None
    fan_out_s = None if is_held else live.oldest_fan_out_s(facts.now)
    if max(live.oldest_waiting_s(facts.now, free) or 0.0, fan_out_s or 0.0) < BEHIND_S:
        return None
    return Finding(Side.OURS, "We are behind: deliveries are due and nothing holds them back", _since(facts))


def _endpoint(facts: Facts, one: Subscription) -> Iterator[Finding]:
    breaker, recent = facts.live.breaker(one.pk), facts.recent.get(one.pk, NOTHING)
    if not one.is_enabled:
        side = Side.SETTING if one.disabled_reason in {_Reason.STAFF, _Reason.PARTNER} else Side.THEIRS
        yield Finding(side, f"Disabled: {one.get_disabled_reason_display()}", one.disabled_at, about=one)
    elif breaker.state != "closed":
        probe = (
            f"It is tried again at {breaker.next_probe_at:%H:%M:%S} UTC."
            if breaker.next_probe_at
            else "The next delivery tries it again."
        )
        since, detail = breaker.since or one.failing_since, ". ".join(filter(None, (facts.last_error(one), probe)))
        yield Finding(Side.THEIRS, "The endpoint is down: its breaker holds everything back", since, detail, one)
    elif recent.attempts and (recent.error_share or 0.0) >= FAILING_SHARE:
        minutes = round(facts.window.total_seconds() / 60)
        title = f"{recent.error_share:.0%} of {recent.attempts:,} attempts of the last {minutes} minutes failed"
        yield Finding(Side.THEIRS, title, one.failing_since, facts.last_error(one), one)


def _open(facts: Facts) -> Set[str]:
    """The subscriptions whose deliveries nothing holds back."""
    return {one.pk for one in facts.subscriptions if facts.is_open(one)}


def _since(facts: Facts, subscription_ids: Set[str] | None = None) -> datetime | None:
    """When the oldest delivery that waits was due, of all or of some subscriptions."""
    age_s = facts.live.oldest_waiting_s(facts.now, subscription_ids)
    return None if age_s is None else facts.now - timedelta(seconds=age_s)
