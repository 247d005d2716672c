"""Builds the request of an attempt from its job. Pure: no clock, no network, no database."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from delivery.jobs import Job
from delivery.sending import Request
from delivery.signing import sign
from partners.secrets import HIDDEN

USER_AGENT = f"Recart-Hooks/{settings.VERSION}"
"""The User-Agent of our requests."""
_OURS = frozenset({"content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature", "traceparent"})


def prepare(
    job: Job, now: datetime, user_agent: str, connect_timeout_s: float, rest: Callable[[], None] | None = None
) -> Request:
    """The signed request. Raises partners.errors.TransformError if the transformation fails for this event,
    SecretError if it cannot be signed.

    A long transformation calls `rest` from time to time.
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
        owner=job.endpoint.partner_id,
    )


def noted(headers: Mapping[str, str]) -> dict[str, str]:
    """A request's headers as they may be stored and shown: the values of the subscription's own ones are hidden."""
    return {name: value if name in _OURS else HIDDEN for name, value in headers.items()}
