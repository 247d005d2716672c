"""How an attempt reads. Attempts are named by their delivery and their number: no id of theirs leaves the database."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from delivery.models import Attempt
from partners.api.fields import Moment
from partners.api.scopes import READ_ONLY
from partners.audit import HIDDEN
from partners.models import ApiKey

_OURS = frozenset(["content-type", "traceparent", "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp"])
ATTEMPT_EXAMPLE: dict[str, Any] = {
    "number": 2,
    "started_at": "2026-05-01T12:00:05.000000Z",
    "latency_ms": 43.7,
    "status_code": 503,
    "error": "http_status",
    "detail": "the endpoint answered 503",
    "request_headers": {
        "content-type": "application/json",
        "webhook-id": "order-820982911946154508-created",
        "webhook-timestamp": "1777636805",
        "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    },
    "response_headers": {"content-type": "text/plain"},
    "response_excerpt": "try again later",
}


class AttemptShape(serializers.Serializer[Any]):
    """One HTTP request and what came back."""

    number = serializers.IntegerField(help_text="From 1.")
    started_at = Moment()
    latency_ms = serializers.FloatField()
    status_code = serializers.IntegerField(allow_null=True, help_text="Null: no answer came.")
    error = serializers.CharField(help_text="Empty for a success; `timeout`, `http_status`, `tls`, …")
    detail = serializers.CharField()
    request_headers = serializers.DictField(child=serializers.CharField(), help_text="Empty: nothing was sent.")
    response_headers = serializers.DictField(child=serializers.CharField())
    response_excerpt = serializers.CharField(help_text="The first 4 KB of the answer.")


def attempt_shape(attempt: Attempt, key: ApiKey) -> dict[str, Any]:
    """As the key may see it: a read-only one is not shown the values of the subscription's own headers."""
    sent = headers_of(attempt.request_headers)
    return {
        "number": attempt.number,
        "started_at": Moment().to_representation(attempt.started_at),
        "latency_ms": attempt.latency_ms,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "detail": attempt.detail,
        "request_headers": visible(sent, key),
        "response_headers": headers_of(attempt.response_headers),
        "response_excerpt": attempt.response_excerpt,
    }


def visible(headers: Mapping[str, str], key: ApiKey) -> dict[str, str]:
    if key.scope != READ_ONLY:
        return dict(headers)
    return {name: value if name.lower() in _OURS else HIDDEN for name, value in headers.items()}


def headers_of(text: str) -> dict[str, str]:
    """From the lines that the recorder writes."""
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value for name, colon, value in pairs if colon}
