"""The catalogue of event types: what partners can subscribe to, and what the data looks like."""

from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners.api.base import ApiView
from partners.api.etags import check_match, tagged, tagged_or_unchanged
from partners.api.fields import ExactJSON, Flag, Moment, StrictSerializer, Text, Whole, Word
from partners.api.pages import PageQuery, page
from partners.api.refusals import Invalid
from partners.api.schema import IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, describe, page_of
from partners.api.scopes import CATALOGUERS, EVERYBODY
from partners.errors import PatternError
from partners.event_types import put_event_type
from partners.models import EventType
from partners.patterns import check_event_type

TAG = "Event types"
_EXAMPLE: dict[str, Any] = {
    "name": "orders.created",
    "category": "orders",
    "description": "An order was placed.",
    "schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    "sample": {"id": 820982911946154508, "total_price": "199.00"},
    "version": 1,
    "is_deprecated": False,
    "on_schema_error": "flag",
    "updated_at": "2026-05-01T12:00:00.000000Z",
}


@extend_schema_field({"type": ["object", "boolean", "null"], "additionalProperties": True})
class SchemaText(ExactJSON):
    """A JSON Schema, exactly as it was written."""


class EventTypeShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    category = serializers.CharField(help_text="The part of the name before the first dot.")
    description = serializers.CharField()
    schema = SchemaText(help_text="JSON Schema 2020-12 of the data; null: not described.")
    sample = ExactJSON(help_text="An example of the data; null: none.")
    version = serializers.IntegerField()
    is_deprecated = serializers.BooleanField()
    on_schema_error = serializers.ChoiceField(EventType.OnSchemaError.values)
    updated_at = Moment()


class EventTypeInput(StrictSerializer):
    reads_as = EventTypeShape

    description = Text(max_length=5000, allow_blank=True, default="")
    schema = SchemaText(default="", help_text="JSON Schema 2020-12 of the data; null: not described.")
    sample = ExactJSON(default="", help_text="An example of the data, which must match the schema; null: none.")
    version = Whole(min_value=1, max_value=1_000_000, default=1)
    is_deprecated = Flag(default=False)
    on_schema_error = Word(
        EventType.OnSchemaError.values, default="flag", help_text="What happens to events that break the schema."
    )


class EventTypeQuery(PageQuery):
    category = serializers.RegexField(
        "^[A-Za-z0-9_.-]+$", required=False, max_length=200, help_text="Only names that begin with this and a dot."
    )


_EXAMPLE_INPUT = {name: _EXAMPLE[name] for name in map(str, EventTypeInput().fields)}


class EventTypes(ApiView):
    scopes = {"GET": EVERYBODY}  # noqa: RUF012

    @describe(
        "List event types",
        tag=TAG,
        name="event_types_list",
        answer=page_of(EventTypeShape, "EventTypePage"),
        parameters=[EventTypeQuery],
        example={"items": [_EXAMPLE], "next_cursor": None},
        description="Ordered by name.",
    )
    def get(self, request: Request) -> Response:
        query = EventTypeQuery.read(request)
        rows = EventType.objects.filter(is_catalogued=True)
        if category := query.get("category"):
            rows = rows.filter(name__startswith=f"{category}.")
        return page(rows, query, lambda found: EventTypeShape(found, many=True).data, key="name", ascending=True)


class EventTypeView(ApiView):
    scopes = {"GET": EVERYBODY, "PUT": CATALOGUERS}  # noqa: RUF012

    @describe(
        "Read an event type",
        tag=TAG,
        name="event_types_read",
        answer=EventTypeShape,
        example=_EXAMPLE,
        problems=[404],
        parameters=[IF_NONE_MATCH],
        more_answers={304: NOT_MODIFIED},
    )
    def get(self, request: Request, name: str) -> Response:
        found = get_object_or_404(EventType, pk=name, is_catalogued=True)
        return tagged_or_unchanged(request, EventTypeShape(found).data)

    @describe(
        "Add or change an event type",
        tag=TAG,
        name="event_types_put",
        request=EventTypeInput,
        answer=EventTypeShape,
        example=_EXAMPLE,
        request_example=_EXAMPLE_INPUT,
        problems=[412],
        parameters=[IF_MATCH],
        more_answers={201: EventTypeShape},
        description="Needs a key of the scope `catalogue`, which staff create. Omitted fields get their defaults. "
        "Events that come from about a second later are checked against it. "
        "An event type cannot be deleted, since old events have it: deprecate it.",
    )
    def put(self, request: Request, name: str) -> Response:
        _check_name(name)
        wanted = EventTypeInput.read(request)
        with transaction.atomic():
            known = EventType.objects.select_for_update().filter(pk=name, is_catalogued=True).first()
            check_match(request, EventTypeShape(known).data if known else None)
            done = put_event_type(name, wanted)
        body = EventTypeShape(EventType.objects.get(pk=name)).data
        return tagged(body, HTTPStatus.CREATED if done == "added" else HTTPStatus.OK)


def _check_name(name: str) -> None:
    try:
        check_event_type(name)
    except PatternError as error:
        raise Invalid([{"parameter": "name", "detail": str(error)}]) from None
