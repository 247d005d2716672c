"""Shows attempts, their outcomes, and what holds deliveries back, as HTML."""

from dataclasses import dataclass

from django.db.models import F, Prefetch
from django.utils.html import format_html
from django.utils.safestring import SafeString

from delivery.holding import HeldBy, Hold
from delivery.models import Attempt, Delivery
from partners.admin.looks import Kind, badge, headers_code, json_code, milliseconds, moment
from partners.models import FOREVER

_STATUS: dict[str, Kind] = {"succeeded": "success", "dead": "danger", "pending": "info"}
_ERRORS = {
    "dns": "name not found",
    "refused": "refused",
    "connect_timeout": "no connection",
    "timeout": "timed out",
    "reset": "reset",
    "tls": "TLS failed",
    "blocked_address": "address not allowed",
    "redirect": "redirect",
    "response_too_large": "answer too large",
    "invalid_response": "not HTTP",
    "unsendable": "not sent",
    "transformation": "not sent",
    "disabled": "not sent",
    "internal": "our fault",
}

_HOLDS = {
    HeldBy.PAUSE: "by a pause of the partner",
    HeldBy.BREAKER: "by the breaker of its endpoint, which is down",
    HeldBy.RATE_LIMIT: "by the partner's rate limit",
    HeldBy.BUSY_ENDPOINT: "because an endpoint of the partner keeps the sender busy with what is no answer",
    HeldBy.MAX_IN_FLIGHT: "by the partner's in-flight cap: all requests allowed at a time are in flight",
}
LAST_ATTEMPT = Prefetch(
    "attempts",
    Attempt.objects.filter(number=F("delivery__attempt_count"))
    .order_by()
    .only("delivery_id", "status_code", "error", "detail"),
    to_attr="last_attempts",
)
"""Prefetches the last attempt of each delivery, in one query, for `last_outcome_badge`."""


def status_badge(delivery: Delivery) -> SafeString:
    return badge(delivery.get_status_display(), _STATUS[delivery.status])


def last_outcome_badge(delivery: Delivery) -> SafeString:
    """For deliveries fetched with LAST_ATTEMPT. If the attempt has been removed, uses the delivery's own columns."""
    if not delivery.attempt_count:
        is_pending = delivery.status == Delivery.Status.PENDING
        return badge("not tried yet" if is_pending else "not sent", "" if is_pending else "danger", delivery.last_error)
    for attempt in delivery.last_attempts:  # type: ignore[attr-defined]  # LAST_ATTEMPT
        return outcome_badge(attempt)
    is_well = delivery.status == Delivery.Status.SUCCEEDED
    return _outcome(delivery.last_status_code, "" if is_well else "unknown", delivery.last_error)


def outcome_badge(attempt: Attempt) -> SafeString:
    return _outcome(attempt.status_code, attempt.error, attempt.detail)


def _outcome(status_code: int | None, error: str, detail: str) -> SafeString:
    if not error:
        return badge(str(status_code), "success", detail)
    word = _ERRORS.get(error, "failed" if status_code is None else "")
    return badge(" ".join(part for part in (str(status_code or ""), word) if part), "danger", detail)


def hold_shown(hold: Hold) -> SafeString:
    if hold.until is None or hold.until >= FOREVER:
        return format_html("{}", _HOLDS[hold.by])
    return format_html("{}, until {} UTC", _HOLDS[hold.by], moment(hold.until))


@dataclass(frozen=True, slots=True)
class AttemptShown:
    """One attempt as HTML."""

    number: int
    outcome: SafeString
    started_at: SafeString
    latency: str
    detail: str
    worker: str
    request_headers: SafeString | None
    response_headers: SafeString | None
    response_excerpt: SafeString | None


def shown(attempt: Attempt) -> AttemptShown:
    return AttemptShown(
        number=attempt.number,
        outcome=outcome_badge(attempt),
        started_at=moment(attempt.started_at),
        latency=milliseconds(attempt.latency_ms),
        detail=attempt.detail,
        worker=attempt.worker,
        request_headers=headers_code(attempt.request_headers) if attempt.request_headers else None,
        response_headers=headers_code(attempt.response_headers) if attempt.response_headers else None,
        response_excerpt=json_code(attempt.response_excerpt) if attempt.response_excerpt else None,
    )
