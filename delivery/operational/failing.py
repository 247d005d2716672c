"""Disables a subscription whose attempts all failed for days, and notifies its partner before that.

`failing_since` is the minute of the first failure after the last success, taken from the roll-ups of the last minutes.
It is written only when it changes, and not before a few minutes of failures only, so that an endpoint that fails now
and then costs no writes. Before a notice is sent or a subscription disabled, all roll-ups since then are read: one
success resets it, and the time from the first to the last failure counts. So neither a failure five days ago with
silence since disables a subscription, nor many failures within an hour.
"""

from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from django.db import connection
from django.db.models import Q

from delivery.models import OperationalEvent
from delivery.operational.kinds import FAILING
from delivery.operational.notify import Notice, notify
from partners.models import Subscription
from partners.services import disable_subscription, try_again

STAGES = (0.9, 0.7, 0.5)
"""The shares of the time to disabling at which the partner is notified."""
SETTLED = timedelta(minutes=5)
"""`failing_since` is written only if it is at least this long ago."""
WINDOW = timedelta(minutes=20)
"""How far back one run reads; runs are a minute apart."""
TRIAL = timedelta(minutes=30)
"""A trial ends when all attempts of this long have failed."""

_MARK = """
WITH minutes AS (
    SELECT subscription_id, starts_at, succeeded > 0 AS is_good, failures > 0 AND latency_sum_ms > 0 AS is_bad
    FROM delivery_rollup WHERE resolution_s = 60 AND starts_at >= %(since)s AND starts_at <= %(now)s
), good AS (
    SELECT subscription_id, max(starts_at) AS last_at FROM minutes WHERE is_good GROUP BY 1
), bad AS (
    SELECT minutes.subscription_id, min(starts_at) AS first_at FROM minutes LEFT JOIN good USING (subscription_id)
    WHERE is_bad AND NOT is_good AND (good.last_at IS NULL OR starts_at > good.last_at) GROUP BY 1
), seen AS (
    SELECT subscription_id, good.last_at AS good_at,
           CASE WHEN bad.first_at <= %(settled)s THEN bad.first_at END AS bad_at
    FROM good FULL JOIN bad USING (subscription_id)
), now_failing AS (
    SELECT s.id, CASE WHEN good_at IS NULL THEN coalesce(s.failing_since, bad_at)
                      WHEN s.failing_since > good_at THEN s.failing_since ELSE bad_at END AS since
    FROM seen JOIN partners_subscription s ON s.id = seen.subscription_id WHERE s.is_enabled
)
UPDATE partners_subscription s SET failing_since = now_failing.since
FROM now_failing WHERE s.id = now_failing.id AND s.failing_since IS DISTINCT FROM now_failing.since
"""

_EVIDENCE = """
SELECT subscription_id, max(starts_at) FILTER (WHERE failures > 0 AND latency_sum_ms > 0), sum(failures)::bigint,
       bool_or(succeeded > 0 AND starts_at > since)
FROM delivery_rollup JOIN unnest(%(ids)s::text[], %(since)s::timestamptz[]) AS asked (subscription_id, since)
     USING (subscription_id)
WHERE resolution_s = 60 AND partner_id = %(partner)s AND starts_at BETWEEN %(earliest)s AND %(now)s
  AND starts_at >= since
GROUP BY subscription_id
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sums of the roll-ups since `failing_since`."""

    last_failure_at: datetime | None
    failures: int
    has_succeeded: bool


@dataclass(frozen=True, slots=True)
class Watched:
    """How many subscriptions one run marked, notified about, disabled and enabled on trial."""

    changed: int
    told: int
    disabled: int
    tried: int


def watch_failing(now: datetime, disable_after: timedelta, trial_every: timedelta | None = None) -> Watched:
    """Makes one run. Idempotent. `trouble` sends the notices of subscriptions that this disables."""
    changed = mark(now)
    _end_good_trials(now)
    told = disabled = 0
    for subscription, evidence in _with_evidence(now, disable_after):
        on_trial = _is_on_trial(subscription)
        limit = TRIAL if on_trial else disable_after
        if evidence.has_succeeded:
            Subscription.objects.filter(pk=subscription.pk).update(failing_since=None)
        elif evidence.last_failure_at is not None:
            stage = _stage(subscription, evidence.last_failure_at + timedelta(minutes=1), limit)
            if stage == 1:
                disabled += disable_subscription(subscription, Subscription.DisabledReason.FAILING)
            elif stage is not None and not on_trial:
                told += len(notify([_notice(subscription, stage, evidence, disable_after)], now))
    return Watched(changed, told, disabled, _try_again(now, trial_every) if trial_every else 0)


def mark(now: datetime) -> int:
    """Updates `failing_since`; returns how many subscriptions changed."""
    with connection.cursor() as cursor:
        cursor.execute(_MARK, {"since": now - WINDOW, "now": now, "settled": now - SETTLED})
        return int(cursor.rowcount)


def _with_evidence(now: datetime, disable_after: timedelta) -> Iterator[tuple[Subscription, Evidence]]:
    """The subscriptions that may have reached a stage of which nobody was told."""
    found = Subscription.objects.filter(_may_matter(now, disable_after)).order_by("partner_id", "pk")
    for partner_id, group in groupby(found.iterator(), attrgetter("partner_id")):
        of_partner = list(group)
        keys = [_key(one, stage) for one in of_partner for stage in STAGES]
        told = set(OperationalEvent.objects.filter(key__in=keys).values_list("key", flat=True))
        due = {one.pk: one for one in of_partner if _is_due(one, now, disable_after, told)}
        for subscription_id, evidence in read_evidence(partner_id, due.values(), now).items():
            yield due[subscription_id], evidence


def _is_due(subscription: Subscription, now: datetime, disable_after: timedelta, told: Set[str]) -> bool:
    """`told`: the keys of notices that there are."""
    if _is_on_trial(subscription):
        return _stage(subscription, now, TRIAL) == 1
    stage = _stage(subscription, now, disable_after)
    return stage is not None and (
        stage == 1 or told.isdisjoint(_key(subscription, one) for one in STAGES if one >= stage)
    )


def _is_on_trial(subscription: Subscription) -> bool:
    return subscription.disabled_reason == Subscription.DisabledReason.FAILING


def read_evidence(partner_id: str, of: Collection[Subscription], now: datetime) -> dict[str, Evidence]:
    """Of a partner's subscriptions, in one statement: it reads the roll-ups of all of them. Leaves out those without
    any."""
    since = {one.pk: one.failing_since for one in of if one.failing_since is not None}
    if not since:
        return {}
    ids, times = list(since), list(since.values())
    with connection.cursor() as cursor:
        cursor.execute(
            _EVIDENCE, {"partner": partner_id, "ids": ids, "since": times, "earliest": min(times), "now": now}
        )
        return {subscription_id: Evidence(*sums) for subscription_id, *sums in cursor.fetchall()}


def _may_matter(now: datetime, disable_after: timedelta) -> Q:
    on_trial = Q(disabled_reason=Subscription.DisabledReason.FAILING, failing_since__lte=now - TRIAL)
    return Q(is_enabled=True) & (Q(failing_since__lte=now - min(STAGES) * disable_after) | on_trial)


def _stage(subscription: Subscription, until: datetime, limit: timedelta) -> float | None:
    """The highest stage reached: 1 means to disable it, None that no stage is reached."""
    if subscription.failing_since is None:
        return None
    share = (until - subscription.failing_since) / limit
    return next((stage for stage in (1.0, *STAGES) if share >= stage), None)


def _key(subscription: Subscription, stage: float) -> str:
    since = subscription.failing_since
    return f"{FAILING}:{subscription.pk}:{since.isoformat() if since else ''}:{stage:g}"


def _notice(subscription: Subscription, stage: float, evidence: Evidence, disable_after: timedelta) -> Notice:
    since = subscription.failing_since
    data = {
        "subscription_id": subscription.pk,
        "url": subscription.url,
        "failing_since": since,
        "share": stage,
        "failures": evidence.failures,
        "disabled_from": since + disable_after if since else None,
    }
    return Notice(FAILING, _key(subscription, stage), subscription.partner_id, data, subscription.pk)


def _end_good_trials(now: datetime) -> None:
    """Ends the trial of subscriptions that have had a success."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE partners_subscription s SET disabled_reason = ''
            WHERE is_enabled AND disabled_reason = 'failing' AND EXISTS (
                SELECT 1 FROM delivery_rollup r
                WHERE r.resolution_s = 60 AND r.starts_at >= %s AND r.partner_id = s.partner_id
                  AND r.subscription_id = s.id AND r.succeeded > 0)
            """,
            [now - WINDOW],
        )


def _try_again(now: datetime, every: timedelta) -> int:
    due = Subscription.objects.filter(
        is_enabled=False,
        deleted_at=None,
        disabled_reason=Subscription.DisabledReason.FAILING,
        disabled_at__lte=now - every,
    )
    return sum(try_again(subscription) for subscription in due.iterator())
