"""The delivery log of the caller's partner: deliveries, their attempts, and retrying a delivery."""

from functools import partial
from http import HTTPStatus
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api.attempt_shapes import ATTEMPT_EXAMPLE, AttemptShape
from delivery.holding import HeldBy, hold_on
from delivery.models import Attempt, Delivery
from delivery.verbs import retry_delivery
from partners.api import costly
from partners.api.base import ApiView
from partners.api.fields import Choice, Moment
from partners.api.pages import VISIBLE, PageQuery, page
from partners.api.refusals import Refused
from partners.api.schema import describe, page_of
from partners.api.subscription_shapes import PATTERN
from partners.identifiers import DELIVERY
from partners.made_at import made_between
from partners.models import Partner
from partners.patterns import EVENT_TYPE_MAX

TAG = "Delivery log"
EXAMPLE: dict[str, Any] = {
    "id": "dlv_0192f1c7a5b07d3e8a4e5f60718293a4",
    "event_id": "order-820982911946154508-created",
    "event_type": "orders.created",
    "subscription_id": "sub_0192f1c7a5b07d3e8a4e5f60718293a4",
    "status": "pending",
    "attempt_count": 2,
    "next_attempt_at": "2026-05-01T12:05:00.000000Z",
    "created_at": "2026-05-01T12:00:00.000000Z",
    "finished_at": None,
    "last_status_code": 503,
    "last_error": "status 503",
}
EXAMPLE_NOW = {**EXAMPLE, "held_by": None}


class DeliveryShape(serializers.Serializer[Any]):
    """One event for one subscription."""

    id = serializers.CharField()
    event_id = serializers.CharField(help_text="The `webhook-id` of every attempt.")
    event_type = serializers.CharField()
    subscription_id = serializers.CharField()
    status = serializers.ChoiceField(Delivery.Status.choices)
    attempt_count = serializers.IntegerField()
    next_attempt_at = Moment(allow_null=True)
    created_at = Moment()
    finished_at = Moment(allow_null=True)
    last_status_code = serializers.IntegerField(allow_null=True)
    last_error = serializers.CharField(help_text="Empty after a success.")


class DeliveryNowShape(DeliveryShape):
    """One event for one subscription, and what holds it back."""

    held_by = serializers.ChoiceField(
        [one.value for one in HeldBy],
        allow_null=True,
        help_text="Why a delivery that is due is not sent: `pause`: you are paused; `breaker`: the endpoint seems to "
        "be down and is tried again soon (`GET /queue` says when); `busy_endpoint`: one of your endpoints "
        "kept the sender busy with data that is no answer; `rate_limit` or `max_in_flight`: it waits its turn. "
        "Null: it is not due, is being sent, or the reason is unknown.",
    )


class DeliveryQuery(PageQuery):
    status = Choice(Delivery.Status.values, required=False)
    subscription_id = serializers.RegexField(VISIBLE, required=False, max_length=40)
    event_id = serializers.RegexField(VISIBLE, required=False, max_length=260)
    event_type = serializers.RegexField(
        PATTERN,
        required=False,
        max_length=EVENT_TYPE_MAX,
        help_text="A type, or all types below one: `orders.*`.",
        error_messages={"invalid": "expected an event type, or a star alone or after the last dot, as in `orders.*`"},
    )
    since = Moment(required=False, help_text="Created at this time or later.")
    until = Moment(required=False, help_text="Created before this time.")


class Deliveries(ApiView):
    @describe(
        "List deliveries",
        tag=TAG,
        name="deliveries_list",
        answer=page_of(DeliveryShape, "DeliveryPage"),
        parameters=[DeliveryQuery],
        example={"items": [EXAMPLE], "next_cursor": None},
        description="Newest first.",
    )
    def get(self, request: Request) -> Response:
        query = DeliveryQuery.read(request)
        rows = _chosen(own_deliveries(self), query)
        return page(
            rows, query, lambda found: DeliveryShape(found, many=True).data, ask=partial(costly.ask, self.partner.pk)
        )


class DeliveryView(ApiView):
    @describe(
        "Read a delivery",
        tag=TAG,
        name="deliveries_read",
        answer=DeliveryNowShape,
        example=EXAMPLE_NOW,
        problems=[404],
    )
    def get(self, request: Request, delivery_id: str) -> Response:
        return Response(_with_hold(own_delivery(self, delivery_id), self.partner))


class Retry(ApiView):
    @describe(
        "Retry a delivery now",
        tag=TAG,
        name="deliveries_retry",
        answer=DeliveryNowShape,
        status=202,
        example=EXAMPLE_NOW,
        problems=[404, 409],
        description="A delivery that waits for its next attempt is due now; one that has ended is sent again. The "
        "attempt is made at once unless something holds it back: see `held_by`.",
    )
    def post(self, request: Request, delivery_id: str) -> Response:
        delivery = own_delivery(self, delivery_id)
        try:
            retry_delivery(delivery)
        except ValidationError as error:
            raise Refused(HTTPStatus.CONFLICT, "not_retryable", " ".join(error.messages)) from None
        delivery.refresh_from_db()
        return Response(_with_hold(delivery, self.partner), HTTPStatus.ACCEPTED)


class Attempts(ApiView):
    @describe(
        "List the attempts of a delivery",
        tag=TAG,
        name="attempts_list",
        answer=page_of(AttemptShape, "AttemptPage"),
        parameters=[PageQuery],
        example={"items": [ATTEMPT_EXAMPLE], "next_cursor": None},
        problems=[404],
        description="The first attempt comes first.",
    )
    def get(self, request: Request, delivery_id: str) -> Response:
        query = PageQuery.read(request)
        attempts = own_delivery(self, delivery_id).attempts.all()
        return page(
            attempts,
            query,
            lambda found: AttemptShape(found, many=True).data,
            key="number",
            kind=int,
            ascending=True,
        )


class AttemptView(ApiView):
    @describe(
        "Read an attempt", tag=TAG, name="attempts_read", answer=AttemptShape, example=ATTEMPT_EXAMPLE, problems=[404]
    )
    def get(self, request: Request, delivery_id: str, number: int) -> Response:
        found = get_object_or_404(Attempt, delivery=own_delivery(self, delivery_id), number=number)
        return Response(AttemptShape(found).data)


def own_deliveries(view: ApiView) -> "QuerySet[Delivery]":
    return Delivery.objects.filter(partner=view.partner)


def own_delivery(view: ApiView, delivery_id: str) -> Delivery:
    return get_object_or_404(own_deliveries(view), pk=delivery_id)


def _with_hold(delivery: Delivery, partner: Partner) -> dict[str, Any]:
    hold = hold_on(delivery, partner, timezone.now())
    return {**DeliveryShape(delivery).data, "held_by": hold and hold.by}


def _chosen(rows: "QuerySet[Delivery]", query: dict[str, Any]) -> "QuerySet[Delivery]":
    for name in ("status", "subscription_id", "event_id"):
        if name in query:
            rows = rows.filter(**{name: query[name]})
    if type_ := query.get("event_type", "").removesuffix("*"):
        rows = rows.filter(event_type__startswith=type_) if type_.endswith(".") else rows.filter(event_type=type_)
    return rows.filter(made_between(DELIVERY, "created_at", query.get("since"), query.get("until")))
