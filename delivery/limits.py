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
from delivery.metrics.process import broker_failed
from partners.changes import Change
from partners.models import FOREVER, Partner

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


class LimitKeeper:
    """Takes changes over from PostgreSQL's announcements."""

    def take_over(self, change: Change) -> None:
        if change.kind not in {"partner", "everything"}:
            return
        try:
            push_limits([change.id] if change.kind == "partner" else None)
        except redis.RedisError as error:  # reconciliation writes them again when Valkey is back
            broker_failed("limits")
            logger.warning("limits not written", extra={"error": str(error)})
        finally:
            connection.close_if_unusable_or_obsolete()
