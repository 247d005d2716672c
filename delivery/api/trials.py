"""Trying an endpoint before events depend on it: sends a test request or a challenge at once."""

from collections.abc import Iterator
from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api.attempt_shapes import ATTEMPT_EXAMPLE, ERROR_HELP
from delivery.messages import CHALLENGE
from delivery.operational.kinds import KINDS
from delivery.prepare import noted
from delivery.proof import verify_now
from delivery.trying import LONGEST_S, Tried, try_now
from delivery.verbs import sample_of, type_for
from partners.api.base import ApiView
from partners.api.costly import refused_if_busy
from partners.api.fields import EventTypeName, StrictSerializer
from partners.api.schema import describe
from partners.api.subscriptions import check_verified, own_subscription
from partners.envelope import Envelope, rfc3339
from partners.event_types import unknown_types
from partners.models import Subscription
from partners.patterns import asks_for
from partners.preview import preview

TAG = "Trying out"
_TAKES = f"Your endpoint has {LONGEST_S:.0f} s to answer. 429 `busy` while another such request is under way."


class TestInput(StrictSerializer):
    event_type = EventTypeName(required=False, help_text="Without it, a type that the subscription asks for.")


class OutcomeShape(serializers.Serializer[Any]):
    succeeded = serializers.BooleanField()
    status_code = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(help_text=ERROR_HELP)
    detail = serializers.CharField()
    latency_ms = serializers.FloatField()
    response_headers = serializers.DictField(child=serializers.CharField())
    response_excerpt = serializers.CharField()


class TestResultShape(serializers.Serializer[Any]):
    """The request and its outcome. It is not in the delivery log."""

    event_id = serializers.CharField(help_text="The request's `webhook-id`.")
    event_type = serializers.CharField()
    request_headers = serializers.DictField(child=serializers.CharField())
    request_body = serializers.CharField(allow_null=True, help_text="Null: it could not be made, see `outcome`.")
    outcome = OutcomeShape()


class TestShape(TestResultShape):
    hints = serializers.ListField(
        child=serializers.CharField(), help_text="Why events may not come all the same, perhaps by a typing error."
    )


class VerificationShape(TestResultShape):
    """The challenge and its outcome."""

    verified = serializers.BooleanField(help_text="The endpoint has echoed the challenge.")
    reason = serializers.CharField(help_text="Why it is not verified. Empty if it is.")


_TEST_EXAMPLE: dict[str, Any] = {
    "event_id": "evt_0192f1c7a5b07d3e8a4e5f60718293a4",
    "event_type": "orders.created",
    "request_headers": ATTEMPT_EXAMPLE["request_headers"],
    "request_body": '{"id":"evt_0192f1c7a5b07d3e8a4e5f60718293a4","type":"orders.created","timestamp":'
    '"2026-05-01T12:00:00.000000Z","data":{"id":820982911946154508}}',
    "outcome": {
        "succeeded": True,
        "status_code": 200,
        "error": "",
        "detail": "",
        "latency_ms": 43.7,
        "response_headers": {},
        "response_excerpt": "ok",
    },
}
_VERIFY_EXAMPLE = {
    **_TEST_EXAMPLE,
    "verified": True,
    "reason": "",
    "event_type": CHALLENGE,
    "request_body": '{"id":"evt_0192f1c7a5b07d3e8a4e5f60718293a4","type":"endpoint.challenge","timestamp":'
    '"2026-05-01T12:00:00.000000Z","data":{"challenge":"M8yQ0ZKJr1Xw0bV2eW3vq3mEJ0fFZ6yU"}}',
    "outcome": {**_TEST_EXAMPLE["outcome"], "response_excerpt": "M8yQ0ZKJr1Xw0bV2eW3vq3mEJ0fFZ6yU"},
}


class TestView(ApiView):
    rate = "test"

    @describe(
        "Send a test event now",
        tag=TAG,
        name="subscriptions_test",
        request=TestInput,
        answer=TestShape,
        request_example={"event_type": "orders.created"},
        example={**_TEST_EXAMPLE, "hints": []},
        problems=[404, 409],
        description="Sends one signed request with the sample of the type, also to a disabled subscription (but 409 "
        "while it is `unverified`) and whatever its filter selects: `hints` say if not this event. 200 whatever your "
        "endpoint answers: see `outcome`. " + _TAKES,
    )
    def post(self, request: Request, subscription_id: str) -> Response:
        subscription = own_subscription(self, subscription_id)
        check_verified(subscription)
        type_ = TestInput.read(request).get("event_type") or type_for(subscription)
        data = sample_of(type_)
        with refused_if_busy("other requests to endpoints"):
            tried = try_now(subscription, type_, data)
        event = Envelope(tried.event_id, type_, rfc3339(timezone.now()), data.encode())
        return Response({**_tried(tried, type_), "hints": list(_hints(subscription, event))})


class VerifyView(ApiView):
    rate = "test"

    @describe(
        "Verify the endpoint",
        tag=TAG,
        name="subscriptions_verify",
        answer=VerificationShape,
        example=_VERIFY_EXAMPLE,
        problems=[404],
        description="Sends a signed `endpoint.challenge` now. The endpoint is verified if it answers 2xx with "
        "`data.challenge` as the whole body; then an `unverified` subscription is enabled. " + _TAKES,
    )
    def post(self, request: Request, subscription_id: str) -> Response:
        subscription = own_subscription(self, subscription_id)
        with refused_if_busy("other requests to endpoints"):
            tried, why_not = verify_now(subscription)
        return Response({"verified": not why_not, "reason": why_not, **_tried(tried, CHALLENGE)})


def _hints(subscription: Subscription, event: Envelope) -> Iterator[str]:
    if event.type not in KINDS or not subscription.is_operational:
        yield from unknown_types(dict.fromkeys([*subscription.event_types, event.type]))
    if not asks_for(subscription.event_types, event.type):
        yield f"The subscription's event types do not ask for {event.type}."
    made = preview(subscription.filter, "", event)
    if not made.wanted:
        why = "; ".join([one.message for one in made.problems] + [one.message for one in made.hints])
        yield "The subscription's filter does not select this event" + (f" ({why})." if why else ".")


def _tried(tried: Tried, event_type: str) -> dict[str, Any]:
    outcome = tried.outcome
    return {
        "event_id": tried.event_id,
        "event_type": event_type,
        "request_headers": noted(tried.request.headers) if tried.request else {},
        "request_body": tried.request.body.decode() if tried.request else None,
        "outcome": {
            "succeeded": outcome.succeeded,
            "status_code": outcome.status_code,
            "error": outcome.error or "",
            "detail": outcome.detail,
            "latency_ms": outcome.latency_ms,
            "response_headers": outcome.response_headers,
            "response_excerpt": outcome.response_excerpt,
        },
    }
