"""Attempts in the API. An attempt is identified by its delivery and its number; its database id is not shown."""

from typing import Any

from rest_framework import serializers

from delivery.models import Attempt
from delivery.outcomes import ErrorClass
from partners.api.fields import Moment
from partners.envelope import rfc3339

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


class AttemptShape(serializers.Serializer[Any]):
    """One HTTP request and its answer."""

    number = serializers.IntegerField(help_text="From 1.")
    started_at = Moment()
    latency_ms = serializers.FloatField()
    status_code = serializers.IntegerField(allow_null=True, help_text="Null: no answer was received.")
    error = serializers.CharField(help_text=ERROR_HELP)
    detail = serializers.CharField()
    request_headers = serializers.DictField(
        child=serializers.CharField(), help_text="Empty: nothing was sent. Values of your own headers are hidden."
    )
    response_headers = serializers.DictField(child=serializers.CharField())
    response_excerpt = serializers.CharField(help_text="The first 4 KB of the answer.")


def attempt_shape(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started_at": rfc3339(attempt.started_at),
        "latency_ms": attempt.latency_ms,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "detail": attempt.detail,
        "request_headers": headers_of(attempt.request_headers),
        "response_headers": headers_of(attempt.response_headers),
        "response_excerpt": attempt.response_excerpt,
    }


def headers_of(text: str) -> dict[str, str]:
    """Parses the lines that the recorder writes."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}
