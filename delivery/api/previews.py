"""A preview of a filter and a transformation: their result for an event. Nothing is sent or stored."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, cast

from django.http import Http404
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from delivery.api.published import Defaults, EventInvalid, read_event
from delivery.api.trials import TAG
from delivery.models import Delivery
from partners.api import costly
from partners.api.base import ApiView
from partners.api.bodies import Body, RawJSON
from partners.api.fields import EventTypeName, ExactJSON, Moment, StrictSerializer, Text
from partners.api.refusals import Invalid
from partners.api.schema import describe
from partners.api.scopes import PARTNER_READS
from partners.api.subscription_shapes import EXAMPLE_INPUT, FILTER_HELP, TRANSFORMATION_HELP, Transformation
from partners.api.subscriptions import own_subscription
from partners.envelope import Envelope, rfc3339
from partners.event_types import unknown_types
from partners.hints import Hint
from partners.identifiers import EVENT, new_id
from partners.models import EventType
from partners.patterns import EVERYTHING, asks_for
from partners.preview import Preview, preview


class EventSketch(StrictSerializer):
    """An event to preview."""  # only for the schema; GivenEvent reads it

    type = EventTypeName()
    data = ExactJSON()  # type: ignore[assignment]  # Serializer has a `data` of its own
    id = Text(max_length=200, required=False)
    timestamp = Moment(required=False)


@extend_schema_field(EventSketch)
class GivenEvent(serializers.Field[Any, Any, Any, Any]):
    """Reads the event from its bytes, as publishing does."""

    def get_value(self, dictionary: Any) -> Any:
        return dictionary.members.get("event", serializers.empty) if isinstance(dictionary, Body) else serializers.empty

    def to_internal_value(self, data: Any) -> Envelope:
        try:
            return read_event(data, Defaults(lambda: new_id(EVENT), datetime.now(UTC))).envelope
        except EventInvalid as error:
            raise Invalid([{"pointer": f"#/event{error.pointer}", "detail": error.detail}]) from None


class PreviewInput(StrictSerializer):
    """Filter and transformation (or a subscription that has them), and an event: given, a sample, or one of yours."""

    filter = Text(allow_blank=True, required=False, help_text=FILTER_HELP)
    transformation = Transformation(required=False, help_text=TRANSFORMATION_HELP)
    subscription_id = Text(required=False, max_length=40)
    event = GivenEvent(required=False)
    event_type = EventTypeName(required=False, help_text="Takes its sample.")
    event_id = Text(required=False, max_length=260, help_text="Of an event that you have a delivery of.")


class PreviewProblemShape(serializers.Serializer[Any]):
    where = serializers.ChoiceField(["filter", "transformation", "data"])
    path = serializers.CharField(help_text="JSON pointer into the transformation.")
    message = serializers.CharField()
    reason = serializers.CharField(help_text="For programs. Empty if the transformation or filter can't even be saved.")


class PreviewHintShape(serializers.Serializer[Any]):
    where = serializers.ChoiceField(["filter", "transformation", "event_types"])
    path = serializers.CharField(help_text="JSON pointer into the transformation.")
    message = serializers.CharField()


class PreviewShape(serializers.Serializer[Any]):
    wanted = serializers.BooleanField(
        allow_null=True,
        help_text="Whether the filter and the subscription's event types select the event. Null: the filter failed.",
    )
    body = ExactJSON(help_text="The body that would be sent. Null: there is none, see `problems`.")
    problems = PreviewProblemShape(many=True)
    hints = PreviewHintShape(
        many=True,
        help_text="Parts that have no effect on this event, perhaps by a typing error. They do not prevent sending.",
    )


class PreviewView(ApiView):
    scopes = {"POST": PARTNER_READS}  # noqa: RUF012 - it changes nothing

    @describe(
        "Preview a filter and a transformation",
        tag=TAG,
        name="preview",
        request=PreviewInput,
        answer=PreviewShape,
        request_example={
            "filter": EXAMPLE_INPUT["filter"],
            "transformation": {"map": {"order": "$.data.id"}},
            "event": {"type": "orders.created", "data": {"id": 820982911946154508, "total_price": 199}},
        },
        example={"wanted": True, "body": {"order": 820982911946154508}, "problems": [], "hints": []},
        problems=[404],
        description="Nothing is sent or stored. `problems` are errors in compiling or applying the filter and the "
        "transformation, `hints` paths that find nothing in this event and event types that nobody knows. One preview "
        "at a time: 429 `busy` while another is under way.",
    )
    def post(self, request: Request) -> Response:
        values = PreviewInput.read(request)
        filter_, transformation, event_types = values.get("filter", ""), values.get("transformation", ""), [EVERYTHING]
        if subscription_id := values.get("subscription_id"):
            saved = own_subscription(self, subscription_id)
            filter_ = values.get("filter", saved.filter)
            transformation = values.get("transformation", saved.transformation)
            event_types = saved.event_types
        envelope = self._envelope(values)
        with costly.one_at_a_time(self.partner.pk, costly.previews):
            made = preview(filter_, transformation, envelope)
        unknown = unknown_types(dict.fromkeys([*event_types, envelope.type]))
        return Response(_previewed(made, unknown, is_asked_for=asks_for(event_types, envelope.type)))

    def _envelope(self, values: dict[str, Any]) -> Envelope:
        given = [name for name in ("event", "event_type", "event_id") if name in values]
        if len(given) != 1:
            raise Invalid([{"pointer": "#", "detail": "give one of event, event_type and event_id"}])
        if given == ["event"]:
            return cast("Envelope", values["event"])
        return _sample(values["event_type"]) if given == ["event_type"] else self._stored(values["event_id"])

    def _stored(self, event_id: str) -> Envelope:
        found = Delivery.objects.filter(event_id=event_id, partner=self.partner).select_related("event").first()
        if found is None:
            raise Http404
        event = found.event
        return Envelope(event.pk, event.type, rfc3339(event.occurred_at), event.data.encode())


def _sample(name: str) -> Envelope:
    found = EventType.objects.filter(pk=name, is_catalogued=True).exclude(sample="").first()
    if found is None:
        detail = " ".join(["no such event type with a sample.", *unknown_types([name])])
        raise Invalid([{"pointer": "#/event_type", "detail": detail}])
    return Envelope(new_id(EVENT), name, rfc3339(datetime.now(UTC)), found.sample.encode())


_NOT_ASKED_FOR = Hint("", "the subscription's event types do not ask for this event", "event_types")


def _previewed(made: Preview, unknown: list[str], *, is_asked_for: bool) -> dict[str, Any]:
    of_types = [Hint("", sentence, "event_types") for sentence in unknown]
    if not is_asked_for:
        of_types.append(_NOT_ASKED_FOR)
    return {
        "wanted": made.wanted if is_asked_for else False,
        "body": None if made.body is None else RawJSON(made.body),
        "problems": [asdict(one) for one in made.problems],
        "hints": [asdict(one) for one in (*of_types, *made.hints)],
    }
