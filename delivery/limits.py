"""Keeps the broker's limits equal to the partners' rows.

Every worker does it, on every change and again whenever the broker has lost its memory: writing the same limit twice
changes nothing, and so neither a restart nor a wiped Valkey forgets one.
"""

import logging
from collections.abc import Iterable

import redis
from django.db import connection

from delivery import publish
from delivery.broker import FairQueues, QueueLimits
from delivery.clocks import ahead_of_valkey_s
from delivery.metrics.process import broker_failed
from partners.changes import Change
from partners.models import FOREVER, Partner, Subscription

logger = logging.getLogger(__name__)


def limits_of(partner: Partner) -> QueueLimits:
    paused_until = None
    if partner.paused_until is not None:
        paused_until = float("inf") if partner.paused_until >= FOREVER else partner.paused_until.timestamp()
    return QueueLimits(
        queue=publish.queue_of(partner.id),
        rate=partner.rate_limit or partner.rate_limit_ceiling or None,
        max_in_flight=partner.max_in_flight,
        paused_until=paused_until,
    )


def push_limits(partner_ids: Iterable[str] | None = None, to: FairQueues | None = None) -> int:
    """Writes the limits of these partners (all: None) to the broker; returns how many. Raises redis.RedisError."""
    partners = Partner.objects.all() if partner_ids is None else Partner.objects.filter(pk__in=list(partner_ids))
    limits = [limits_of(partner) for partner in partners.iterator()]
    (to or publish.queues()).configure_many(limits)
    return len(limits)


def hold_back(partner_id: str, subscription_id: str, until: float, to: FairQueues | None = None) -> bool:
    """Stops a partner's queue until its breaker may be probed, if all that waits in it is for this one subscription.

    Otherwise every waiting message would be fetched only to be postponed, and a big backlog behind a dead endpoint
    would keep the workers busy. Never ends a pause by staff or partner sooner. False when others share the queue.
    `until` is of this host's clock; Valkey's may be another.
    """
    partner = Partner.objects.filter(pk=partner_id).first()
    enabled = Subscription.objects.filter(partner=partner_id, is_enabled=True, deleted_at=None)
    others = enabled.exclude(pk=subscription_id)
    if partner is None or others.exists():
        return False
    own, queues = limits_of(partner).paused_until or 0.0, to or publish.queues()
    queues.pause(publish.queue_of(partner_id), max(until - ahead_of_valkey_s(queues.client), own))
    if others.exists():  # made since the look above: its announcement may have come before the pause
        push_limits([partner_id], to)
        return False
    return True


def push_change(change: Change, to: FairQueues | None = None) -> None:
    """Writes the limits that a change may have touched. Raises redis.RedisError.

    A changed subscription ends what holds its partner's queue back: it may not share the trouble of the one before.
    """
    if change.kind == "everything":
        push_limits(to=to)
    elif change.kind == "partner":
        push_limits([change.id], to)
    elif change.kind == "subscription":
        push_limits(Subscription.objects.filter(pk=change.id).values_list("partner_id", flat=True), to)


class LimitKeeper:
    """Takes changes over from PostgreSQL's announcements."""

    def take_over(self, change: Change) -> None:
        try:
            push_change(change)
        except redis.RedisError as error:  # reconciliation writes them again when Valkey is back
            broker_failed("limits")
            logger.warning("limits not written", extra={"error": str(error)})
        finally:
            connection.close_if_unusable_or_obsolete()
