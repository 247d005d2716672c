"""Subscriptions of the caller's partner: which events it gets, at which URL, in which form."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners import services
from partners.api.base import ApiView
from partners.api.etags import check_match, tag_of, tagged, tagged_or_unchanged
from partners.api.pages import PageQuery, page
from partners.api.profile import locked as locked_partner
from partners.api.refusals import Refused
from partners.api.schema import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, describe, page_of
from partners.api.subscription_shapes import (
    EXAMPLE,
    EXAMPLE_INPUT,
    NewSubscriptionInput,
    SubscriptionInput,
    SubscriptionShape,
    shape,
)
from partners.models import Subscription

TAG = "Subscriptions"
Reason = Subscription.DisabledReason
_DISABLED = {
    **EXAMPLE,
    "is_enabled": False,
    "disabled_at": "2026-05-02T12:00:00.000000Z",
    "disabled_reason": "partner",
}


class SubscriptionQuery(PageQuery):
    is_enabled = serializers.BooleanField(required=False, allow_null=True, default=None)


class Subscriptions(ApiView):
    @describe(
        "List subscriptions",
        tag=TAG,
        name="subscriptions_list",
        answer=page_of(SubscriptionShape, "SubscriptionPage"),
        parameters=[SubscriptionQuery],
        example={"items": [EXAMPLE], "next_cursor": None},
    )
    def get(self, request: Request) -> Response:
        query = SubscriptionQuery.read(request)
        rows = own_subscriptions(self).filter(is_operational=False)
        if query["is_enabled"] is not None:
            rows = rows.filter(is_enabled=query["is_enabled"])
        return page(rows, query, lambda found: [shape(one) for one in found])

    @describe(
        "Subscribe",
        tag=TAG,
        name="subscriptions_create",
        request=NewSubscriptionInput,
        answer=SubscriptionShape,
        status=201,
        problems=[409],
        request_example=EXAMPLE_INPUT,
        example=EXAMPLE,
        description="Events that come from now on are sent. Where endpoints must be verified, that begins when "
        "`POST /subscriptions/{id}/verify` has enabled it. `GET /subscriptions/{id}/secrets` has its signing secret.",
    )
    def post(self, request: Request) -> Response:
        wanted = NewSubscriptionInput.read(request)
        with transaction.atomic():
            locked_partner(self.partner)
            if own_subscriptions(self).filter(is_operational=False).count() >= settings.SUBSCRIPTIONS_MAX:
                raise Refused(
                    HTTPStatus.CONFLICT, "too_many", f"at most {settings.SUBSCRIPTIONS_MAX} subscriptions: delete one"
                )
            made = services.create_subscription(self.partner, **wanted)
        body = shape(made)
        where = f"{request.path}/{made.pk}"
        return Response(body, HTTPStatus.CREATED, headers={"Location": where, "ETag": tag_of(body)})


class SubscriptionView(ApiView):
    @describe(
        "Read a subscription",
        tag=TAG,
        name="subscriptions_read",
        answer=SubscriptionShape,
        example=EXAMPLE,
        problems=[404],
        parameters=[IF_NONE_MATCH],
        more_answers={304: NOT_MODIFIED},
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        return tagged_or_unchanged(request, shape(own_subscription(self, subscription_id)))

    @describe(
        "Change a subscription",
        tag=TAG,
        name="subscriptions_update",
        request=SubscriptionInput,
        answer=SubscriptionShape,
        example=EXAMPLE,
        request_example={"event_types": ["orders.created"], "filter": ""},
        problems=[404, 409, 412],
        parameters=[IF_MATCH],
        description="Changes only the fields that are given, for all attempts from about a second later. "
        "Where endpoints must be verified, a new URL makes the subscription `unverified` again. 409: the subscription "
        "for operational events has the URL of your profile and gets all of them.",
    )
    def patch(self, request: Request, subscription_id: str) -> Response:
        own_subscription(self, subscription_id)
        wanted = SubscriptionInput.read(request, partial=True)
        with transaction.atomic():
            current = own_subscription(self, subscription_id, lock=True)
            check_match(request, shape(current))
            if current.is_operational and _changes(current, wanted, services.OF_THE_PROFILE):
                raise _operational()
            services.update_subscription(current, wanted)
        return tagged(shape(current))

    @describe(
        "Unsubscribe",
        tag=TAG,
        name="subscriptions_delete",
        status=204,
        problems=[404, 409, 412],
        parameters=[IF_MATCH],
        description="It ends for good: nothing more is sent, and its secrets are removed. Its deliveries stay.",
    )
    def delete(self, request: Request, subscription_id: str) -> Response:
        with transaction.atomic():
            current = own_subscription(self, subscription_id, lock=True)
            check_match(request, shape(current))
            if current.is_operational:
                raise _operational()
            services.delete_subscription(current)
        return Response(status=HTTPStatus.NO_CONTENT)


class EnableView(ApiView):
    @describe(
        "Enable a subscription",
        tag=TAG,
        name="subscriptions_enable",
        answer=SubscriptionShape,
        example=EXAMPLE,
        problems=[404, 409],
        description="New events are sent again. For the events that came meanwhile, create a replay with the mode "
        "`missing`; for deliveries that waited when it was disabled and are dead now, one with `failed`. 409: staff "
        "disabled it, so only they can enable it, or its endpoint must be verified first.",
    )
    def post(self, request: Request, subscription_id: str) -> Response:
        with transaction.atomic():
            current = own_subscription(self, subscription_id, lock=True)
            if current.disabled_reason == Reason.STAFF:
                raise Refused(HTTPStatus.CONFLICT, "disabled_by_staff", "staff disabled this subscription: ask them")
            check_verified(current)
            services.enable_subscription(current)
        return tagged(shape(current))


class DisableView(ApiView):
    @describe(
        "Disable a subscription",
        tag=TAG,
        name="subscriptions_disable",
        answer=SubscriptionShape,
        example=_DISABLED,
        problems=[404],
        description="Nothing is sent to it until it is enabled. Deliveries that wait for it become dead when they are "
        "due; a replay with the mode `failed` sends them again. To keep them waiting, pause instead.",
    )
    def post(self, request: Request, subscription_id: str) -> Response:
        current = own_subscription(self, subscription_id)
        services.disable_subscription(current, Reason.PARTNER)
        return tagged(shape(current))


def _changes(current: Subscription, wanted: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(name in wanted and wanted[name] != getattr(current, name) for name in names)


def _operational() -> Refused:
    return Refused(HTTPStatus.CONFLICT, "operational", "it is that of your profile's operational_url")


def check_verified(subscription: Subscription) -> None:
    if subscription.disabled_reason == Reason.UNVERIFIED:
        where = f"POST /subscriptions/{subscription.pk}/verify first"
        raise Refused(HTTPStatus.CONFLICT, "unverified", f"its endpoint has not echoed a challenge yet: {where}")


def own_subscriptions(view: ApiView) -> "QuerySet[Subscription]":
    """Includes that of the operational URL, which no list contains but can be read by its id."""
    return Subscription.objects.filter(partner=view.partner, deleted_at=None)


def own_subscription(view: ApiView, subscription_id: str, *, lock: bool = False) -> Subscription:
    rows = own_subscriptions(view)
    return get_object_or_404(rows.select_for_update() if lock else rows, pk=subscription_id)
