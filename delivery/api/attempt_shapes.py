"""Attempts in the API. An attempt is identified by its delivery and its number; its database id is not shown."""

from typing import Any

from rest_framework import serializers

from delivery.outcomes import ErrorClass
from partners.api.fields import Moment

ATTEMPT_EXAMPLE: dict[str, Any] = {
    "number": 2,
    "started_at": "2026-05-01T12:00:05.000000Z",
    "latency_ms": 43.7,
    "status_code": 503,
    "error": "http_status",
    "detail": "status 503",
    "request_headers": {
        "content-type": "application/json",
        "webhook-id": "order-820982911946154508-created",
        "webhook-timestamp": "1777636805",
        "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    },
    "response_headers": {"content-type": "text/plain"},
    "response_excerpt": "try again later",
}


ERROR_HELP = f"Empty for a success; else {', '.join(f'`{one}`' for one in ErrorClass)}."


class HeaderLines(serializers.DictField):
    """Headers, from the lines that the recorder writes."""

    child = serializers.CharField()

    def to_representation(self, value: Any) -> dict[str, str]:
        pairs = (line.partition(": ") for line in value.splitlines())
        return {name: content for name, colon, content in pairs if colon}


class AttemptShape(serializers.Serializer[Any]):
    """One HTTP request and its answer."""

    number = serializers.IntegerField(help_text="From 1.")
    started_at = Moment()
    latency_ms = serializers.FloatField()
    status_code = serializers.IntegerField(allow_null=True, help_text="Null: no answer was received.")
    error = serializers.CharField(help_text=ERROR_HELP)
    detail = serializers.CharField()
    request_headers = HeaderLines(help_text="Empty: nothing was sent. Values of your own headers are hidden.")
    response_headers = HeaderLines()
    response_excerpt = serializers.CharField(help_text="The first 4 KB of the answer.")
