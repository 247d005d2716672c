"""Builds the request of one attempt from a job: pure, no clock, no network, no database."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from delivery.jobs import Job
from delivery.sending import Request
from delivery.signing import sign
from partners.secrets import HIDDEN

USER_AGENT = f"Recart-Hooks/{settings.VERSION}"
"""What we are called at endpoints."""
_OURS = frozenset({"content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature", "traceparent"})


def prepare(
    job: Job, now: datetime, user_agent: str, connect_timeout_s: float, rest: Callable[[], None] | None = None
) -> Request:
    """The signed request. Raises partners.errors.TransformError when the transformation cannot digest the event.

    `rest` is called now and then in a transformation that takes long.
    """
    envelope = job.envelope
    body = envelope.body if job.endpoint.transform is None else job.endpoint.transform.apply(envelope, rest=rest)
    timestamp = int(now.timestamp())
    headers: dict[str, Any] = {name: value for name, value in job.endpoint.headers.items() if name.lower() not in _OURS}
    headers["content-type"] = "application/json"
    headers["user-agent"] = user_agent
    headers["webhook-id"] = job.event_id
    headers["webhook-timestamp"] = str(timestamp)
    headers["webhook-signature"] = sign(job.endpoint.live_secrets(now), job.event_id, timestamp, body)
    if job.traceparent:
        headers["traceparent"] = job.traceparent
    return Request(
        url=job.endpoint.url,
        headers=headers,
        body=body,
        connect_timeout_s=connect_timeout_s,
        timeout_s=job.endpoint.timeout_s,
    )


def noted(headers: Mapping[str, str]) -> dict[str, str]:
    """Of a prepared request, what may be written down and shown: a subscription's own values may be credentials."""
    return {name: value if name in _OURS else HIDDEN for name, value in headers.items()}
