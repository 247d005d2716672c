"""Counts, error shares and latencies of the caller's deliveries, from the roll-ups."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery import stats
from delivery.resolutions import HOUR_S, MINUTE_S, ceiling, floor
from delivery.stats import Span, Stats
from partners.api import costly
from partners.api.base import ApiView
from partners.api.fields import Choice, Moment
from partners.api.pages import VISIBLE, Query
from partners.api.refusals import Invalid
from partners.api.schema import describe
from partners.api.subscriptions import own_subscription
from partners.envelope import rfc3339

TAG = "Statistics"
STEPS_S = (60, 300, 3600, 86400)
MAX_STEPS = 3000
LONGEST = timedelta(days=400)
MINUTES_UP_TO = timedelta(hours=48)
"""Longer spans begin and end with whole hours, because minutes are not kept for so long."""
_COUNTS: dict[str, Any] = {
    "attempts": 1200,
    "failures": 12,
    "succeeded": 1190,
    "dead": 1,
    "error_share": 0.01,
    "mean_ms": 52.1,
    "p50_ms": 44.0,
    "p95_ms": 120.5,
    "p99_ms": 280.0,
}


class CountsShape(serializers.Serializer[Any]):
    attempts = serializers.IntegerField()
    failures = serializers.IntegerField(help_text="Attempts that failed.")
    succeeded = serializers.IntegerField(help_text="Deliveries that succeeded.")
    dead = serializers.IntegerField(help_text="Deliveries that ended without success.")
    error_share = serializers.FloatField(allow_null=True, help_text="The share of attempts that failed, 0 to 1.")
    mean_ms = serializers.FloatField(allow_null=True)
    p50_ms = serializers.FloatField(allow_null=True, help_text="Null: nothing was sent.")
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class StepShape(CountsShape):
    starts_at = Moment()


class SubscriptionCountsShape(CountsShape):
    subscription_id = serializers.CharField()


class StatsShape(serializers.Serializer[Any]):
    since = Moment(
        help_text="Rounded down to a whole minute; to a whole hour for a span that is longer than 48 hours, or begins "
        "before the time for which minutes are kept (two weeks, unless we changed that)."
    )
    until = Moment(help_text="Rounded up, likewise.")
    step_s = serializers.IntegerField()
    total = CountsShape()
    steps = StepShape(many=True, help_text="Steps without any attempt are left out.")
    subscriptions = SubscriptionCountsShape(many=True, help_text="Subscriptions without any attempt are left out.")


class StatsQuery(Query):
    subscription_id = serializers.RegexField(VISIBLE, required=False, max_length=40)
    since = Moment(required=False, help_text="Without it, a day before `until`.")
    until = Moment(required=False, help_text="Without it, now.")
    step_s = Choice(STEPS_S, default=3600, help_text="Under 3600 only if `since` is rounded to a minute.")


class StatsView(ApiView):
    @describe(
        "Read statistics",
        tag=TAG,
        name="stats_read",
        answer=StatsShape,
        parameters=[StatsQuery],
        problems=[404],
        example={
            "since": "2026-05-01T00:00:00.000000Z",
            "until": "2026-05-02T00:00:00.000000Z",
            "step_s": 3600,
            "total": _COUNTS,
            "steps": [{"starts_at": "2026-05-01T12:00:00.000000Z", **_COUNTS}],
            "subscriptions": [{"subscription_id": "sub_0192f1c7a5b07d3e8a4e5f60718293a4", **_COUNTS}],
        },
        description="Percentiles are interpolated in a histogram whose bounds grow by about half.",
    )
    def get(self, request: Request) -> Response:
        query = StatsQuery.read(request)
        span, step_s = self._span(query), int(query["step_s"])
        counted = costly.ask(self.partner.pk, lambda: stats.overview(span, step_s))
        return Response(
            {
                "since": rfc3339(span.since),
                "until": rfc3339(span.until),
                "step_s": step_s,
                "total": _counts(stats.summed(counted.by_time.values())),
                "steps": [
                    {"starts_at": rfc3339(starts_at), **_counts(one)}
                    for starts_at, one in sorted(counted.by_time.items())
                ],
                "subscriptions": [
                    {"subscription_id": subscription_id, **_counts(one)}
                    for subscription_id, one in sorted(counted.by_subscription.items())
                ],
            }
        )

    def _span(self, query: dict[str, Any]) -> Span:
        until: datetime = query.get("until") or timezone.now()
        since: datetime = query.get("since") or until - timedelta(days=1)
        if since >= until or until - since > LONGEST:
            raise Invalid([{"parameter": "since", "detail": f"must be before until, by {LONGEST.days} days at most"}])
        subscription_id = query.get("subscription_id")
        if subscription_id is not None:
            own_subscription(self, subscription_id)
        finest_s = HOUR_S if until - since > MINUTES_UP_TO or _is_old(since) else MINUTE_S
        step_s = int(query["step_s"])
        if step_s < finest_s or (until - since) / timedelta(seconds=step_s) > MAX_STEPS:
            raise Invalid([{"parameter": "step_s", "detail": "too short for this span"}])
        return Span(floor(since, finest_s), ceiling(until, finest_s), self.partner.pk, subscription_id)


def _is_old(since: datetime) -> bool:
    """Whether the roll-ups of minutes may have been removed."""
    return since < timezone.now() - timedelta(days=settings.MINUTES_KEPT_DAYS)


def _counts(one: Stats) -> dict[str, Any]:
    return {
        "attempts": one.attempts,
        "failures": one.failures,
        "succeeded": one.succeeded,
        "dead": one.dead,
        "error_share": one.error_share,
        "mean_ms": one.mean_ms,
        "p50_ms": one.percentile_ms(0.5),
        "p95_ms": one.percentile_ms(0.95),
        "p99_ms": one.percentile_ms(0.99),
    }
