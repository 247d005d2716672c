"""What waits for the caller's partner now, and what holds it back: its queue, and the breaker of each endpoint."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.backlog import backlog_by
from delivery.live import Backlogs, BreakerState, Live, Queue, backlogs_of, live
from partners.api import costly
from partners.api.base import ApiView
from partners.api.fields import Moment, Pause
from partners.api.schema import describe
from partners.models import Subscription
from partners.places import Busy

TAG = "Statistics"
_EXAMPLE = {
    "queue": {"waiting": 12, "delayed": 3, "in_flight": 2, "tokens": 0, "is_held": False, "held_until": None},
    "oldest_waiting_s": 4.2,
    "subscriptions": [
        {
            "subscription_id": "sub_0192f1c7a5b07d3e8a4e5f60718293a4",
            "url": "https://hooks.example.com/recart",
            "description": "production",
            "is_enabled": True,
            "pending": 15,
            "oldest_waiting_s": 4.2,
            "breaker": {
                "state": "open",
                "since": "2026-05-01T12:00:00.000000Z",
                "next_probe_at": "2026-05-01T12:01:00.000000Z",
            },
        }
    ],
}


class QueueShape(serializers.Serializer[Queue]):
    waiting = serializers.IntegerField(help_text="Deliveries that are sent as soon as your limits allow.")
    delayed = serializers.IntegerField(help_text="Deliveries that wait for their next attempt.")
    in_flight = serializers.IntegerField(help_text="Requests to your endpoints that are under way.")
    tokens = serializers.IntegerField(
        allow_null=True, help_text="Requests that your rate limit lets through at once; null: no rate limit."
    )
    is_held = serializers.SerializerMethodField(
        help_text="Nothing is sent: you are paused, the breakers of all your endpoints are open, or one of them kept "
        "the sender busy with data that is no answer."
    )
    held_until = Pause(allow_null=True, help_text="Null while `is_held`: until somebody resumes.")

    def get_is_held(self, queue: Queue) -> bool:
        return queue.held_until is not None


class BreakerShape(serializers.Serializer[BreakerState]):
    state = serializers.ChoiceField(
        ["closed", "half_open", "open"],
        help_text="`closed`: deliveries are sent. `open`: your endpoint seems to be down, nothing is sent to it before "
        "`next_probe_at`. `half_open`: the next delivery tries the endpoint again.",
    )
    since = Moment(allow_null=True, help_text="When it opened.")
    next_probe_at = Moment(allow_null=True)


class SubscriptionQueueShape(serializers.Serializer[Any]):
    subscription_id = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField()
    is_enabled = serializers.BooleanField()
    pending = serializers.IntegerField(
        allow_null=True, help_text="Deliveries that have not ended; null: too many to count."
    )
    oldest_waiting_s = serializers.FloatField(
        allow_null=True,
        help_text="For how long the oldest delivery has been due; null: none is due, or `pending` is null too.",
    )
    breaker = BreakerShape(allow_null=True, help_text="Null: not known at the moment.")


class LiveShape(serializers.Serializer[Any]):
    queue = QueueShape(allow_null=True, help_text="Null: not known at the moment.")
    oldest_waiting_s = serializers.FloatField(
        allow_null=True, help_text="The same of all your deliveries, also when they are too many to count."
    )
    subscriptions = SubscriptionQueueShape(many=True, help_text="All your subscriptions, also the operational one.")


class QueueView(ApiView):
    @describe(
        "Read what waits",
        tag=TAG,
        name="queue_read",
        answer=LiveShape,
        example=_EXAMPLE,
        description="Your queue, and for each subscription what waits and the state of its breaker. "
        "The answers of endpoints are in the delivery log.",
    )
    def get(self, request: Request) -> Response:
        now = timezone.now()
        seen = live(self.partner.pk, now, _backlogs)
        own = Subscription.objects.filter(partner=self.partner, deleted_at=None).order_by("pk")
        own = own.only("pk", "url", "description", "is_enabled")  # transformations may be large
        return Response(
            LiveShape(
                {
                    "queue": seen.queue,
                    "oldest_waiting_s": seen.oldest_waiting_s(now),
                    "subscriptions": [_waiting(one, seen, now) for one in own],
                }
            ).data
        )


def _backlogs(partner_id: str) -> Backlogs:
    """A backlog that takes long is counted for one request of a partner at a time; the others get None."""
    quick = backlog_by("subscription_id", partner_id, costly.QUICK_S)
    if quick is not None:
        return quick
    try:
        with costly.slow_questions.taken(partner_id):
            return backlogs_of(partner_id)
    except Busy:
        return None


def _waiting(subscription: Subscription, seen: Live, now: datetime) -> dict[str, Any]:
    pk, backlogs = subscription.pk, seen.backlogs
    return {
        "subscription_id": pk,
        "url": subscription.url,
        "description": subscription.description,
        "is_enabled": subscription.is_enabled,
        "pending": None if backlogs is None else backlogs[pk].pending if pk in backlogs else 0,
        "oldest_waiting_s": seen.oldest_waiting_s(now, {pk}),
        "breaker": None if seen.queue is None else seen.breaker(pk),
    }
