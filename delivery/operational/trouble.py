"""Finds trouble that partners and staff should be notified about, except for what `failing` finds.

Disabled subscriptions are found by their present state, so that no notice is missed; breakers and dead deliveries by
counts since the last notice. `quiet` is how long no notice of the same kind follows, for a subscription or a partner.
"""

import logging
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

import redis
from django.db.models import Max, Q, Sum

from delivery import publish
from delivery.breaker_store import SharedBreakers
from delivery.broker import FairQueues, InvalidRate, parse_rate
from delivery.models import Delivery, OperationalEvent, Rollup
from delivery.operational.kinds import BREAKER, DEAD, DISABLED, LIMITED
from delivery.operational.notify import Notice
from delivery.resolutions import MINUTE_S
from partners.models import Partner, Subscription

logger = logging.getLogger("delivery.operational")

TOLD_WITHIN = timedelta(days=1)
"""There is no notice of a subscription that was disabled longer ago."""
WINDOW = timedelta(minutes=20)
"""How far back one run looks for dead deliveries in the roll-ups, beside the quiet time; runs are a minute apart."""
_NAMED = 5
_LOOKED_AT = 500
_Reason = Subscription.DisabledReason


def disabled_subscriptions(now: datetime, failing_quiet: timedelta) -> Iterator[Notice]:
    """Except those that the partner disabled. If one fails each trial, there is one notice per `failing_quiet`."""
    found = Subscription.objects.filter(
        is_enabled=False,
        deleted_at=None,
        disabled_at__gte=now - TOLD_WITHIN,
        disabled_reason__in=[_Reason.GONE, _Reason.FAILING, _Reason.STAFF],
    )
    failing = [one.pk for one in found if one.disabled_reason == _Reason.FAILING]
    quiet = _last_told(DISABLED, failing, now - failing_quiet)
    told = set(OperationalEvent.objects.filter(kind=DISABLED, subscription__in=found).values_list("key", flat=True))
    for one in found:
        at = one.disabled_at.isoformat() if one.disabled_at else ""
        key = f"{DISABLED}:{one.pk}:{at}"
        if one.pk in quiet or key in told:
            continue
        data = {
            "subscription_id": one.pk,
            "url": one.url,
            "reason": one.disabled_reason,
            "disabled_at": one.disabled_at,
        }
        yield Notice(DISABLED, key, one.partner_id, data, one.pk)


def opened_breakers(now: datetime, quiet: timedelta, shared: SharedBreakers | None = None) -> Iterator[Notice]:
    """Counts are removed once they are told of. Within `quiet` those of breakers that are open stay: if one is still
    open when the quiet time is over, it is told of then. Raises redis.RedisError."""
    shared = shared or SharedBreakers()
    counts, opened = shared.opened_counts(), shared.opened()
    told = _last_told(BREAKER, counts, now - quiet)
    for one in Subscription.objects.filter(pk__in=list(counts), is_enabled=True):
        if one.pk not in told:
            data = {"subscription_id": one.pk, "url": one.url, "opened": counts[one.pk]}
            yield Notice(BREAKER, _key(BREAKER, one.pk, now), one.partner_id, data, one.pk)
        elif one.pk in opened:
            del counts[one.pk]
    shared.forget_counts(counts)


def dead_deliveries(now: datetime, quiet: timedelta) -> Iterator[Notice]:
    """Counts the dead deliveries of whole minutes since the subscription's last notice."""
    until, earliest = _minute(now), now - quiet - WINDOW
    dead = _with_dead(earliest, until)
    told = _last_told(DEAD, dead, earliest)
    for one in Subscription.objects.filter(pk__in=dead).order_by("pk"):
        last = told.get(one.pk, earliest)
        if last > now - quiet:
            continue
        since = _minute(last)
        count = _dead_count(one, since, until)
        if not count:
            continue
        data = {
            "subscription_id": one.pk,
            "url": one.url,
            "count": count,
            "since": since,
            "deliveries": _newest_dead(one, since),
        }
        yield Notice(DEAD, _key(DEAD, one.pk, now), one.partner_id, data, one.pk)


def limited_partners(
    now: datetime, quiet: timedelta, bound: timedelta, of: FairQueues | None = None
) -> Iterator[Notice]:
    """Partners with more ready deliveries than their rate limit lets through in `bound`. Raises redis.RedisError."""
    partners = {
        publish.queue_of(one.pk): one for one in Partner.objects.filter(~Q(rate_limit="") | ~Q(rate_limit_ceiling=""))
    }
    for queue, stats in (of or publish.queues()).stats(list(partners)).items():
        partner = partners[queue]
        limit = partner.rate_limit_in_force
        try:
            pace = parse_rate(limit)
        except InvalidRate:  # written in SQL, past the validation; delivery.limits logs it
            continue
        if pace is None:
            continue
        wait_s = stats.ready / pace
        if wait_s <= bound.total_seconds() or partner.is_paused or _was_notified(LIMITED, now - quiet, partner.pk):
            continue
        data = {"waiting": stats.ready, "rate_limit": limit, "wait_s": round(wait_s)}
        yield Notice(LIMITED, _key(LIMITED, partner.pk, now), partner.pk, data)


def all_trouble(now: datetime, quiet: timedelta, bound: timedelta, failing_quiet: timedelta) -> Iterator[Notice]:
    """All notices; while Valkey is away, those that need only the database."""
    yield from disabled_subscriptions(now, failing_quiet)
    yield from dead_deliveries(now, quiet)
    try:
        yield from opened_breakers(now, quiet)
        yield from limited_partners(now, quiet, bound)
    except redis.RedisError as error:
        logger.warning("no notices of breakers and rate limits: Valkey is away", extra={"error": str(error)})


def _with_dead(since: datetime, until: datetime) -> list[str]:
    """Ids of subscriptions. One of them may have been deleted in SQL."""
    rows = Rollup.objects.filter(resolution_s=MINUTE_S, starts_at__gte=since, starts_at__lt=until, dead__gt=0)
    return list(rows.order_by().distinct().values_list("subscription_id", flat=True))


def _dead_count(of: Subscription, since: datetime, until: datetime) -> int:
    rows = Rollup.objects.filter(
        resolution_s=MINUTE_S, partner=of.partner_id, subscription=of, starts_at__gte=since, starts_at__lt=until
    )
    return rows.aggregate(count=Sum("dead"))["count"] or 0


def _newest_dead(of: Subscription, since: datetime) -> list[str]:
    """A few examples, found among the partner's newest dead deliveries."""
    newest = Delivery.objects.filter(partner=of.partner_id, status=Delivery.Status.DEAD).order_by("-id")
    rows = newest.values_list("pk", "subscription_id", "finished_at")[:_LOOKED_AT]
    return [pk for pk, owner, at in rows if owner == of.pk and at is not None and at >= since][:_NAMED]


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _key(kind: str, of: str, now: datetime) -> str:
    return f"{kind}:{of}:{now:%Y-%m-%dT%H:%M}"


def _last_told(kind: str, of: Collection[str], since: datetime) -> dict[str, datetime]:
    """When each of these subscriptions was last told of, if it was since then. In one statement: a partner may have a
    thousand in trouble."""
    told = OperationalEvent.objects.filter(kind=kind, subscription__in=list(of), created_at__gt=since).order_by()
    return dict(told.values_list("subscription_id").annotate(Max("created_at")))


def _was_notified(kind: str, since: datetime, partner_id: str) -> bool:
    return OperationalEvent.objects.filter(kind=kind, created_at__gt=since, partner=partner_id).exists()
