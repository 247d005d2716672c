"""Signing secrets of a subscription: the two answers in the whole API that hold one."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners import services
from partners.api.base import ApiView
from partners.api.fields import Moment, Seconds, StrictSerializer
from partners.api.schema import describe
from partners.api.scopes import PARTNER_WRITES
from partners.api.subscriptions import own_subscription
from partners.encryption import decrypt
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
    """A secret that signs now."""

    secret = serializers.SerializerMethodField(help_text="For a Standard Webhooks library, as it is.")
    created_at = Moment()
    expires_at = Moment(allow_null=True, help_text="When it stops to sign; null: it is not being replaced.")

    def get_secret(self, row: SubscriptionSecret) -> str:
        return decrypt(row.token)


class SecretsShape(serializers.Serializer[Any]):
    """Newest first. Each of them signs every request: accept a request that any one of them verifies."""

    items = SecretShape(many=True)


class RotationInput(StrictSerializer):
    overlap_s = Seconds(
        min_value=0,
        max_value=LONGEST_OVERLAP_S,
        required=False,
        help_text="How long the former secrets sign as well; without it, a day.",
    )


class Secrets(ApiView):
    scopes = {"GET": PARTNER_WRITES}  # noqa: RUF012 - who reads a secret can sign in our name

    @describe(
        "Reveal signing secrets",
        tag=TAG,
        name="secrets_reveal",
        answer=SecretsShape,
        example=_EXAMPLE,
        problems=[404],
        description="That they were read is written into the audit log. Not for read-only keys.",
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
        description="A new secret signs at once, and the former ones with it until the overlap is over: "
        "teach your server the new one within that time. At most 10 are alive.",
    )
    def post(self, request: Request, subscription_id: str) -> Response:
        subscription = own_subscription(self, subscription_id)
        wanted = RotationInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.rotate_secret(subscription, wanted.validated_data.get("overlap_s"))
        return _answer(subscription)


def _answer(subscription: Subscription) -> Response:
    return Response({"items": SecretShape(services.live_secrets(subscription), many=True).data})
