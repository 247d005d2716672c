"""Single events: read by partners that get them and by producers, expunged by producers."""

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.models import Delivery, Event
from delivery.verbs import expunge_event
from partners.api.base import ApiView
from partners.api.fields import ExactJSON, Moment
from partners.api.schema import describe
from partners.api.scopes import PARTNER_READS, PRODUCER, PRODUCERS

TAG = "Events"
_EXAMPLE: dict[str, Any] = {
    "id": "order-820982911946154508-created",
    "type": "orders.created",
    "source": "shop",
    "occurred_at": "2026-05-01T12:00:00.000000Z",
    "received_at": "2026-05-01T12:00:01.000000Z",
    "data": {"id": 820982911946154508, "total_price": "199.00"},
    "expunged_at": None,
}


class EventShape(serializers.Serializer[Any]):
    id = serializers.CharField()
    type = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # Field has a `source` of its own
    occurred_at = Moment()
    received_at = Moment()
    data = ExactJSON(help_text="As it was received; null after it was expunged.")  # type: ignore[assignment]  # as above
    expunged_at = Moment(allow_null=True)


class EventView(ApiView):
    scopes = {"GET": PARTNER_READS | PRODUCERS, "DELETE": PRODUCERS}  # noqa: RUF012

    @describe(
        "Read an event",
        tag=TAG,
        name="events_read",
        answer=EventShape,
        example=_EXAMPLE,
        problems=[404],
        description="A partner can read the events that it has deliveries of, a producer all events.",
    )
    def get(self, request: Request, event_id: str) -> Response:
        found = get_object_or_404(Event, pk=event_id)
        if not self._may_read(found):
            raise Http404
        return Response(EventShape(found).data)

    @describe(
        "Expunge an event's data",
        tag=TAG,
        name="events_expunge",
        answer=EventShape,
        example={**_EXAMPLE, "data": None, "expunged_at": "2026-05-02T12:00:00.000000Z"},
        problems=[404],
        description="Removes the event's data and the answers of endpoints to it, permanently. The event itself, its "
        "deliveries and their attempts stay. Deliveries that still wait become dead.",
    )
    def delete(self, request: Request, event_id: str) -> Response:
        event = get_object_or_404(Event, pk=event_id)
        expunge_event(event)
        return Response(EventShape(event).data)

    def _may_read(self, event: Event) -> bool:
        if self.caller.key.scope == PRODUCER:
            return True
        return Delivery.objects.filter(event=event, partner=self.partner).exists()
