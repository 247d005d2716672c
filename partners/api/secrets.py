"""Signing secrets of a subscription. Only the answers to these two operations contain any."""

from typing import Any

from django.db import transaction
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners import services
from partners.api.base import ApiView
from partners.api.fields import Moment, Seconds, StrictSerializer
from partners.api.schema import describe
from partners.api.scopes import PARTNER_WRITES
from partners.api.subscriptions import own_subscription
from partners.encryption import readable
from partners.models import Subscription, SubscriptionSecret

TAG = "Subscriptions"
LONGEST_OVERLAP_S = 7 * 24 * 3600
_EXAMPLE = {
    "items": [
        {
            "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "created_at": "2026-05-01T12:00:00.000000Z",
            "expires_at": None,
        }
    ]
}
_ROTATED = {
    "items": [
        {**_EXAMPLE["items"][0], "secret": "whsec_plJ3nmyCDGBKInavdOK15jsl2Lw5xHGn"},
        {**_EXAMPLE["items"][0], "expires_at": "2026-05-02T12:00:00.000000Z"},
    ]
}


class SecretShape(serializers.Serializer[SubscriptionSecret]):
    """A secret that currently signs requests."""

    secret = serializers.SerializerMethodField(
        help_text="Pass it unchanged to a Standard Webhooks library. Null: we lost the key that decrypts it, and can't "
        "sign while it is there; rotate it, which ends it at once."
    )
    created_at = Moment()
    expires_at = Moment(allow_null=True, help_text="When it stops signing; null: it has not been replaced.")

    def get_secret(self, row: SubscriptionSecret) -> str | None:
        return readable(row.token)


class SecretsShape(serializers.Serializer[Any]):
    """Newest first. Each of them signs every request: accept a request that any one of them verifies."""

    items = SecretShape(many=True)


class RotationInput(StrictSerializer):
    overlap_s = Seconds(
        min_value=0,
        max_value=LONGEST_OVERLAP_S,
        required=False,
        help_text="How long the former secrets go on signing. By default a day, unless the operator sets another time.",
    )


class Secrets(ApiView):
    scopes = {"GET": PARTNER_WRITES}  # noqa: RUF012 - whoever has a secret can sign in our name

    @describe(
        "Reveal signing secrets",
        tag=TAG,
        name="secrets_reveal",
        answer=SecretsShape,
        example=_EXAMPLE,
        problems=[404],
        description="The audit log records it. Read-only keys may not do it.",
    )
    def get(self, request: Request, subscription_id: str) -> Response:
        subscription = own_subscription(self, subscription_id)
        services.note_reveal(subscription)
        return _answer(subscription)


class Rotation(ApiView):
    @describe(
        "Rotate the signing secret",
        tag=TAG,
        name="secrets_rotate",
        request=RotationInput,
        answer=SecretsShape,
        example=_ROTATED,
        request_example={"overlap_s": 86400},
        problems=[404],
        description="A new secret signs every request from now on. The former ones sign too until the overlap ends: "
        "have your server accept the new one by then. There are at most 10 at a time.",
    )
    def post(self, request: Request, subscription_id: str) -> Response:
        own_subscription(self, subscription_id)
        wanted = RotationInput.read(request)
        with transaction.atomic():
            subscription = own_subscription(self, subscription_id, lock=True)
            services.rotate_secret(subscription, wanted.get("overlap_s"))
        return _answer(subscription)


def _answer(subscription: Subscription) -> Response:
    return Response({"items": SecretShape(services.live_secrets(subscription), many=True).data})
