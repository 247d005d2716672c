"""Replays of the caller's subscriptions: estimate, start, read and cancel them."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import ValidationError
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.models import ReplayJob
from delivery.replay import cancel_replay, estimate, start_replay
from delivery.replayed_events import Wanted
from partners.api import costly
from partners.api.base import ApiView
from partners.api.fields import Moment, StrictSerializer, Text, Word
from partners.api.pages import PageQuery, page
from partners.api.refusals import Invalid, Refused
from partners.api.schema import describe, page_of
from partners.api.scopes import PARTNER_READS
from partners.api.subscriptions import own_subscription

TAG = "Replays"
_INPUT = {
    "subscription_id": "sub_0192f1c7a5b07d3e8a4e5f60718293a4",
    "mode": "missing",
    "since": "2026-05-01T00:00:00Z",
}
_EXAMPLE: dict[str, Any] = {
    "id": "rpl_0192f1c7a5b07d3e8a4e5f60718293a4",
    **_INPUT,
    "since": "2026-05-01T00:00:00.000000Z",
    "until": "2026-05-02T12:00:00.000000Z",
    "status": "running",
    "reason": "",
    "total": 1200,
    "is_total_exact": True,
    "queued": 400,
    "skipped": 0,
    "created_at": "2026-05-02T12:00:00.000000Z",
    "finished_at": None,
}


class ReplayShape(serializers.Serializer[Any]):
    id = serializers.CharField()
    subscription_id = serializers.CharField()
    mode = serializers.ChoiceField(ReplayJob.Mode.values)
    since = Moment()
    until = Moment()
    status = serializers.ChoiceField(ReplayJob.Status.values)
    reason = serializers.CharField(help_text="Why it failed.")
    total = serializers.IntegerField(
        source="counted", allow_null=True, help_text="Counted at the start; null: counting took too long."
    )
    is_total_exact = serializers.BooleanField()
    queued = serializers.IntegerField(help_text="Deliveries queued so far.")
    skipped = serializers.IntegerField(help_text="Left out: the filter does not match, or the delivery is pending.")
    created_at = Moment()
    finished_at = Moment(allow_null=True)


class ReplayInput(StrictSerializer):
    subscription_id = Text(max_length=40)
    mode = Word(
        ReplayJob.Mode.values,
        help_text="`all`: every event that the subscription asks for; `failed`: dead deliveries; `missing`: events "
        "that never became a delivery. After it was disabled: `missing` for events that came meanwhile, then `failed` "
        "for deliveries that waited before.",
    )
    since = Moment(help_text="Events received at this time or later.")
    until = Moment(
        required=False,
        help_text="Events received before this time; without it, now. In the answer, of `missing` events right after "
        "a change of the subscription, up to ten seconds later: until then some are still routed as before.",
    )


class EstimateShape(serializers.Serializer[Any]):
    count = serializers.IntegerField(
        allow_null=True, help_text="Null: counting takes too long; a later `since` may help."
    )
    is_exact = serializers.BooleanField(help_text="False: a filter is evaluated later, or there are more.")


class Replays(ApiView):
    @describe(
        "List replays",
        tag=TAG,
        name="replays_list",
        answer=page_of(ReplayShape, "ReplayPage"),
        parameters=[PageQuery],
        example={"items": [_EXAMPLE], "next_cursor": None},
    )
    def get(self, request: Request) -> Response:
        query = PageQuery.read(request)
        rows = ReplayJob.objects.filter(partner=self.partner)
        return page(rows, query, lambda found: ReplayShape(found, many=True).data)

    @describe(
        "Replay",
        tag=TAG,
        name="replays_create",
        request=ReplayInput,
        answer=ReplayShape,
        status=201,
        request_example=_INPUT,
        example=_EXAMPLE,
        problems=[404, 409],
        description="Runs in the background, at your pace and behind live events, and queues each delivery at most "
        "once. One replay at a time for a subscription.",
    )
    def post(self, request: Request) -> Response:
        wanted = read_wanted(self, request)
        try:
            with costly.one_at_a_time(self.partner.pk):
                job = start_replay(wanted)
        except ValidationError as error:
            raise Refused(HTTPStatus.CONFLICT, "not_replayable", " ".join(error.messages)) from None
        return Response(ReplayShape(job).data, HTTPStatus.CREATED, headers={"Location": f"{request.path}/{job.pk}"})


class ReplayEstimate(ApiView):
    scopes = {"POST": PARTNER_READS}  # noqa: RUF012 - it changes nothing

    @describe(
        "Count what a replay would send",
        tag=TAG,
        name="replays_estimate",
        request=ReplayInput,
        answer=EstimateShape,
        request_example=_INPUT,
        example={"count": 1200, "is_exact": True},
        problems=[404],
        description="One at a time: 429 `busy` while another slow request of yours is under way.",
    )
    def post(self, request: Request) -> Response:
        wanted = read_wanted(self, request)
        with costly.one_at_a_time(self.partner.pk):
            counted = estimate(wanted)
        return Response(EstimateShape(counted).data)


class ReplayView(ApiView):
    @describe("Read a replay", tag=TAG, name="replays_read", answer=ReplayShape, example=_EXAMPLE, problems=[404])
    def get(self, request: Request, replay_id: str) -> Response:
        return Response(ReplayShape(own_replay(self, replay_id)).data)


class ReplayCancel(ApiView):
    @describe(
        "Cancel a replay",
        tag=TAG,
        name="replays_cancel",
        answer=ReplayShape,
        example={**_EXAMPLE, "status": "canceled", "finished_at": "2026-05-02T12:01:00.000000Z"},
        problems=[404],
        description="Queues nothing more; deliveries queued already are sent. A replay that has ended stays as it is.",
    )
    def post(self, request: Request, replay_id: str) -> Response:
        job = own_replay(self, replay_id)
        cancel_replay(job)
        return Response(ReplayShape(job).data)


def own_replay(view: ApiView, replay_id: str) -> ReplayJob:
    return get_object_or_404(ReplayJob, partner=view.partner, pk=replay_id)


def read_wanted(view: ApiView, request: Request) -> Wanted:
    values = ReplayInput.read(request)
    now = timezone.now()
    until = min(values.get("until", now), now)
    if values["since"] >= until:
        raise Invalid([{"pointer": "#/since", "detail": "must be before until, and in the past"}])
    return Wanted(own_subscription(view, values["subscription_id"]), values["mode"], values["since"], until)
