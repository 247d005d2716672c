"""The catalogue of event types: what can be subscribed to, and how its data looks."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from partners.api.base import ApiView
from partners.api.fields import ExactJSON, Moment
from partners.api.pages import PageQuery, page
from partners.api.schema import describe, page_of
from partners.api.scopes import EVERYBODY
from partners.models import EventType

TAG = "Event types"
_EXAMPLE: dict[str, Any] = {
    "name": "orders.created",
    "category": "orders",
    "description": "An order was placed.",
    "schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    "sample": {"id": 820982911946154508, "total_price": "199.00"},
    "version": 1,
    "is_deprecated": False,
    "updated_at": "2026-05-01T12:00:00.000000Z",
}


@extend_schema_field({"type": ["object", "boolean", "null"], "additionalProperties": True})
class SchemaText(ExactJSON):
    """A JSON Schema, as staff wrote it."""


@extend_schema_field({})
class SampleText(ExactJSON):
    """Any JSON."""


class EventTypeShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    category = serializers.CharField(help_text="The part before the first dot.")
    description = serializers.CharField()
    schema = SchemaText(help_text="JSON Schema 2020-12 of the data; null: not described.")
    sample = SampleText(help_text="An example of the data; null: none.")
    version = serializers.IntegerField()
    is_deprecated = serializers.BooleanField()
    updated_at = Moment()


class EventTypeQuery(PageQuery):
    category = serializers.CharField(required=False, max_length=200, help_text="Only names that begin with it.")


class EventTypes(ApiView):
    scopes = {"GET": EVERYBODY}  # noqa: RUF012

    @describe(
        "List event types",
        tag=TAG,
        name="event_types_list",
        answer=page_of(EventTypeShape, "EventTypePage"),
        parameters=[EventTypeQuery],
        example={"items": [_EXAMPLE], "next_cursor": None},
        description="By name.",
    )
    def get(self, request: Request) -> Response:
        query = EventTypeQuery.read(request)
        rows = EventType.objects.filter(is_catalogued=True)
        if category := query.get("category"):
            rows = rows.filter(name__startswith=f"{category}.")
        return page(rows, query, lambda found: EventTypeShape(found, many=True).data, key="name", ascending=True)


class EventTypeView(ApiView):
    scopes = {"GET": EVERYBODY}  # noqa: RUF012

    @describe(
        "Read an event type", tag=TAG, name="event_types_read", answer=EventTypeShape, example=_EXAMPLE, problems=[404]
    )
    def get(self, request: Request, name: str) -> Response:
        found = EventType.objects.filter(pk=name, is_catalogued=True).first()
        if found is None:
            raise Http404
        return Response(EventTypeShape(found).data)
