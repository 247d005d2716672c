"""The profile of the caller's partner: its rate limit, where operational events go, pausing and resuming."""

from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners import services
from partners.api.base import ApiView
from partners.api.etags import check_match, tagged, tagged_or_unchanged
from partners.api.fields import Matching, Moment, Pause, StrictSerializer, Text
from partners.api.refusals import Invalid, Refused
from partners.api.schema import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, describe
from partners.models import FOREVER, Partner
from partners.validation import RATE_REGEX

TAG = "Partner"
_EXAMPLE = {
    "id": "ptr_0192f1c7a5b07d3e8a4e5f60718293a4",
    "name": "Yotpo",
    "rate_limit": "50/s",
    "rate_limit_ceiling": "100/s",
    "max_in_flight": 16,
    "is_paused": False,
    "paused_until": None,
    "paused_by": "",
    "operational_url": "",
    "operational_subscription_id": None,
    "operational_email": "hooks@example.com",
    "created_at": "2026-05-01T12:00:00.000000Z",
    "updated_at": "2026-05-01T12:00:00.000000Z",
}
_PAUSED = {**_EXAMPLE, "is_paused": True, "paused_until": "2026-05-01T14:00:00.000000Z", "paused_by": "partner"}


class PartnerShape(serializers.Serializer[Partner]):
    id = serializers.CharField()
    name = serializers.CharField()
    rate_limit = serializers.CharField(
        help_text="Deliveries per second, minute or hour: `50/s`, `600/m`, `1000/h`. Empty: the ceiling."
    )
    rate_limit_ceiling = serializers.CharField(help_text="The highest rate limit that you may set. Empty: none.")
    max_in_flight = serializers.IntegerField(help_text="The largest number of requests to you at the same time.")
    is_paused = serializers.BooleanField()
    paused_until = Pause(allow_null=True, help_text="May be past. Null while `is_paused`: until somebody resumes.")
    paused_by = serializers.CharField(help_text="`partner` or `staff`. Empty: nobody, or somebody resumed.")
    operational_url = serializers.CharField(help_text="Where we send operational events.")
    operational_subscription_id = serializers.SerializerMethodField(
        help_text="Its secret signs operational events; null before there was an operational URL."
    )
    operational_email = serializers.CharField()
    created_at = Moment()
    updated_at = Moment()

    def get_operational_subscription_id(self, partner: Partner) -> str | None:
        own = partner.subscriptions.filter(is_operational=True, deleted_at=None)
        return own.values_list("pk", flat=True).first()


class PartnerInput(StrictSerializer):
    reads_as = PartnerShape

    rate_limit = Matching(
        f"^({RATE_REGEX})?$",
        allow_blank=True,
        error_messages={"invalid": "expected a number per second, minute or hour, such as 50/s, 600/m or 1000/h"},
        help_text="`50/s`, `600/m`, `1000/h`, at most the ceiling. Empty: the ceiling.",
    )
    operational_url = Text(allow_blank=True, max_length=2048)
    operational_email = Text(allow_blank=True, max_length=254)


class PauseInput(StrictSerializer):
    until = Moment(allow_null=True, default=None, help_text="In the future; null: until somebody resumes.")


class Profile(ApiView):
    @describe(
        "Read your profile",
        tag=TAG,
        name="partner_read",
        answer=PartnerShape,
        example=_EXAMPLE,
        parameters=[IF_NONE_MATCH],
        more_answers={304: NOT_MODIFIED},
    )
    def get(self, request: Request) -> Response:
        return tagged_or_unchanged(request, shape(self.partner))

    @describe(
        "Change your profile",
        tag=TAG,
        name="partner_update",
        request=PartnerInput,
        answer=PartnerShape,
        example=_EXAMPLE,
        request_example={"rate_limit": "50/s"},
        parameters=[IF_MATCH],
        problems=[412],
        description="Changes only the fields that are given. A new rate limit applies within a second.",
    )
    def patch(self, request: Request) -> Response:
        wanted = PartnerInput.read(request, partial=True)
        with transaction.atomic():
            partner = locked(self.partner)
            check_match(request, shape(partner))
            services.update_partner(partner, wanted)
        return tagged(shape(partner))


class PauseView(ApiView):
    @describe(
        "Pause deliveries",
        tag=TAG,
        name="partner_pause",
        request=PauseInput,
        answer=PartnerShape,
        example=_PAUSED,
        request_example={"until": "2026-05-01T14:00:00Z"},
        problems=[409],
        description="Nothing is sent to you until that time, or until you resume. Events wait for you meanwhile.",
    )
    def post(self, request: Request) -> Response:
        until = PauseInput.read(request)["until"] or FOREVER
        if until <= timezone.now():
            raise Invalid([{"pointer": "#/until", "detail": "this time is in the past"}])
        with transaction.atomic():
            partner = _not_paused_by_staff(self.partner)
            services.pause_partner(partner, until, Partner.PausedBy.PARTNER)
        return tagged(shape(partner))


class ResumeView(ApiView):
    @describe(
        "Resume deliveries",
        tag=TAG,
        name="partner_resume",
        answer=PartnerShape,
        example=_EXAMPLE,
        problems=[409],
        description="The events that wait are sent, within your rate limit. Only staff can end a pause of theirs: 409.",
    )
    def post(self, request: Request) -> Response:
        with transaction.atomic():
            partner = _not_paused_by_staff(self.partner)
            services.resume_partner(partner)
        return tagged(shape(partner))


def shape(partner: Partner) -> dict[str, Any]:
    return dict(PartnerShape(partner).data)


def locked(partner: Partner) -> Partner:
    return Partner.objects.select_for_update().get(pk=partner.pk)


def _not_paused_by_staff(partner: Partner) -> Partner:
    current = locked(partner)
    if current.is_paused and current.paused_by == Partner.PausedBy.STAFF:
        raise Refused(HTTPStatus.CONFLICT, "paused_by_staff", "staff paused deliveries to you: ask them")
    return current
