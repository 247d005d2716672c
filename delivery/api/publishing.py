"""Publishing events: one, or a batch of up to 1,000, with a result for each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import orjson
from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from delivery import idempotency
from delivery.api.published import Defaults, EventInvalid, read_event
from delivery.intake import Taken, intake
from delivery.messages import SOURCE_MAX
from partners.api.base import ApiView
from partners.api.bodies import MAX_DEPTH, RawJSON, read_body
from partners.api.fields import EventTypeName, Matching, Moment, StrictSerializer, Text
from partners.api.refusals import Invalid, Refused
from partners.api.schema import Several, describe
from partners.api.scopes import PRODUCERS
from partners.errors import JSONError
from partners.exact_json import Limits, elements, members
from partners.identifiers import EVENT, EVENT_ID_MAX, new_id

TAG = "Publishing"
MAX_EVENTS = 1000
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_ONE = {
    "id": "order-820982911946154508-created",
    "type": "orders.created",
    "timestamp": "2026-05-01T12:00:00Z",
    "data": {"id": 820982911946154508, "total_price": "199.00"},
}
_ANSWER = {
    "items": [{"id": "order-820982911946154508-created", "status": "stored"}],
    "stored": 1,
    "duplicates": 0,
    "refused": 0,
}
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="1 to 255 visible ASCII characters. For 24 hours, the same key and body get the first answer again; "
    "the same key with another body gets 422, and 409 while the first request is in progress.",
)


class RawParser(BaseParser):
    """The body as bytes, limited in length but not parsed: `split` reads them."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return read_body(stream, (parser_context or {})["request"].META, settings.API_BODY_MAX_BYTES)


class EventInput(StrictSerializer):
    """Something that happened."""  # only for the schema: delivery.api.published reads events and keeps their bytes

    id = Matching(
        rf"^[\x21-\x7e]{{1,{EVENT_ID_MAX}}}$",
        required=False,
        allow_null=True,
        help_text="A unique id of yours, which partners get as `webhook-id`. Without it, we assign one.",
    )
    type = EventTypeName(help_text="`orders.created`")
    timestamp = Moment(required=False, allow_null=True, help_text="When it happened; without it, now.")
    source = Text(  # type: ignore[assignment]  # Field has a `source` of its own
        max_length=SOURCE_MAX,
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="Where it happened. Two sources may use the same id for different events.",
    )
    data = serializers.JSONField(  # type: ignore[assignment]  # Serializer has a `data` of its own
        help_text="Any JSON, stored and sent as the bytes received."
    )


class BatchInput(StrictSerializer):
    events = serializers.ListField(child=EventInput(), min_length=1, max_length=MAX_EVENTS)


class PublishedItemShape(serializers.Serializer[Any]):
    """The result of one event."""

    id = serializers.CharField(allow_null=True, help_text="Null for a refused event without an id that could be read.")
    status = serializers.ChoiceField(["stored", "duplicate", "refused"])
    detail = serializers.CharField(required=False, help_text="Why it was refused.")
    pointer = serializers.CharField(required=False, help_text="What was refused, as a JSON pointer into the body.")


class PublishedShape(serializers.Serializer[Any]):
    items = PublishedItemShape(many=True, help_text="In the order of the published events.")
    stored = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    refused = serializers.IntegerField()


@dataclass(frozen=True, slots=True)
class Item:
    """The result of one event, before it goes into the answer."""

    taken: Taken
    pointer: str = ""
    too_large: bool = False


class Publish(ApiView):
    scopes = {"POST": PRODUCERS}  # noqa: RUF012
    parser_classes = (RawParser,)
    rate = "publish"
    query_time_s = 30  # for large batches, and those that wait for another request with the same events

    @describe(
        "Publish events",
        tag=TAG,
        name="events_publish",
        request=PolymorphicProxySerializer(
            "EventOrBatch", serializers=[EventInput, BatchInput], resource_type_field_name=None
        ),
        answer=PublishedShape,
        status=202,
        request_example=Several({"One event": _ONE, "A batch": {"events": [_ONE, {**_ONE, "id": "order-7"}]}}),
        example=_ANSWER,
        parameters=[IDEMPOTENCY_KEY],
        problems=[409, 422],
        more_answers={
            207: OpenApiResponse(PublishedShape, description="Some events were refused, the others are stored.")
        },
        description="One event, or up to 1,000 as `events`. 202: every event is durably stored, now or before "
        "(`duplicate`: not sent again). 207: some were refused, see `items`. 400: all were refused.",
    )
    def post(self, request: Request) -> Response:
        raw = bytes(cast("bytes", request.data) or b"")  # without a body it is an empty dict
        events, is_batch = split(raw)
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return answer(take(events, lambda _: new_id(EVENT)), is_batch)
        claim = self._claim(key, raw)
        if claim.answer is not None:
            return _replayed(claim.answer)
        try:
            response = answer(take(events, claim.event_id), is_batch)
        except BaseException:
            claim.give_up()
            raise
        claim.finish(idempotency.Answer(response.status_code, orjson.dumps(response.data)))
        return response

    def _claim(self, key: str, raw: bytes) -> idempotency.Claim:
        if not _KEY.fullmatch(key):
            raise Invalid([{"header": "Idempotency-Key", "detail": "expected 1 to 255 visible ASCII characters"}])
        try:
            return idempotency.claim(self.caller.key, key, raw)
        except idempotency.InProgress:
            raise Refused(
                HTTPStatus.CONFLICT, "in_progress", "this request is still in progress", {"Retry-After": "1"}
            ) from None
        except idempotency.Reused:
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused", "this key was used with another body"
            ) from None


def split(raw: bytes) -> tuple[list[bytes], bool]:
    """Returns the exact bytes of each event, and whether they came as a batch. Raises Invalid."""
    limits = Limits(settings.API_BODY_MAX_BYTES, MAX_DEPTH)
    try:
        parts = members(raw, limits)
        if "events" not in parts:
            return [raw.strip()], False
        for name in parts.keys() - {"events"}:
            raise Invalid([{"pointer": f"#/{name[:100]}", "detail": "unknown member beside `events`"}])
        events = elements(parts["events"], limits, at_most=MAX_EVENTS + 1)
    except JSONError as error:
        raise Invalid([{"pointer": "#", "detail": str(error)}]) from None
    if not 1 <= len(events) <= MAX_EVENTS:
        raise Invalid([{"pointer": "#/events", "detail": f"expected 1 to {MAX_EVENTS} events"}])
    return events, True


def take(events: Sequence[bytes], id_at: Callable[[int], str]) -> list[Item]:
    """Reads and stores the events. `id_at` returns the id for an event without one, by its place."""
    now = datetime.now(UTC)
    items: dict[int, Item] = {}
    read = {}
    for place, raw in enumerate(events):
        try:
            read[place] = read_event(raw, Defaults(partial(id_at, place), now))
        except EventInvalid as error:
            items[place] = Item(Taken(error.event_id, "refused", error.detail), error.pointer, error.too_large)
    if read:
        for place, taken in zip(read, intake().take(list(read.values())), strict=True):
            items[place] = Item(taken)
    return [items[place] for place in range(len(events))]


def answer(items: Sequence[Item], is_batch: bool) -> Response:
    """Answers 202, or 207 if some events were refused. Raises Invalid if all were."""
    refused = [(place, item) for place, item in enumerate(items) if item.taken.status == "refused"]
    if len(refused) == len(items):
        status = 413 if all(item.too_large for item in items) else 400
        places = [{"pointer": _pointer(place, item, is_batch), "detail": item.taken.detail} for place, item in refused]
        raise Invalid(places, status=status)
    body = {
        "items": [_shown(place, item, is_batch) for place, item in enumerate(items)],
        "stored": sum(item.taken.status == "stored" for item in items),
        "duplicates": sum(item.taken.status == "duplicate" for item in items),
        "refused": len(refused),
    }
    return Response(body, HTTPStatus.MULTI_STATUS if refused else HTTPStatus.ACCEPTED)


def _shown(place: int, item: Item, is_batch: bool) -> dict[str, Any]:
    shown = {"id": item.taken.id or None, "status": item.taken.status}
    if not item.taken.detail:
        return shown
    return {**shown, "detail": item.taken.detail, "pointer": _pointer(place, item, is_batch)}


def _pointer(place: int, item: Item, is_batch: bool) -> str:
    return f"#/events/{place}{item.pointer}" if is_batch else f"#{item.pointer}"


def _replayed(first: idempotency.Answer) -> Response:
    return Response(RawJSON(first.body.decode()), first.status, headers={"Idempotent-Replayed": "true"})
