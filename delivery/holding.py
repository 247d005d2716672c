"""Why a delivery that is due is not sent: a pause, the breaker of its endpoint, a limit of its partner's queue, or an
endpoint of the partner that kept the sender busy (delivery.quarantine)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import redis

from delivery import publish
from delivery.live import open_breakers, queue_now
from delivery.models import Delivery
from partners.models import Partner


class HeldBy(StrEnum):
    PAUSE = "pause"
    BREAKER = "breaker"
    RATE_LIMIT = "rate_limit"
    MAX_IN_FLIGHT = "max_in_flight"
    BUSY_ENDPOINT = "busy_endpoint"


@dataclass(frozen=True, slots=True)
class Hold:
    """`until`: the end of the pause, or the time of the next probe or look, if known."""

    by: HeldBy
    until: datetime | None = None


def hold_on(delivery: Delivery, partner: Partner, now: datetime) -> Hold | None:
    """None if the delivery is not due yet, is being sent, or if no reason is known."""
    if delivery.next_attempt_at is None or delivery.next_attempt_at > now:
        return None
    try:
        return None if publish.leased_by(delivery.next_due) else _hold(delivery, partner, now)
    except redis.RedisError:
        return None


def _hold(delivery: Delivery, partner: Partner, now: datetime) -> Hold | None:
    if partner.is_paused:
        return Hold(HeldBy.PAUSE, partner.paused_until)
    breaker = open_breakers(now).get(delivery.subscription_id)
    if breaker is not None:
        return Hold(HeldBy.BREAKER, breaker.next_probe_at)
    queue = queue_now(partner.pk)
    if queue.held_until is not None:
        return Hold(HeldBy.BUSY_ENDPOINT, queue.held_until)
    if queue.waits_for_rate:
        return Hold(HeldBy.RATE_LIMIT)
    return Hold(HeldBy.MAX_IN_FLIGHT) if queue.waits_for_answers(partner.max_in_flight) else None
