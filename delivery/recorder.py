"""Records attempts and updates their deliveries: one statement, and so one commit, for a batch.

An attempt is recorded once for each delivery and number. A second record of the same attempt (from a worker that was
taken for dead) changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from delivery.database import Ask, ask
from delivery.outcomes import Outcome
from delivery.retries import DISABLE_GONE, Step
from partners.models import Subscription
from partners.switching import disable_subscriptions


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt as it is recorded, and the step that follows it."""

    delivery_id: str
    subscription_id: str
    partner_id: str
    event_type: str
    number: int
    started_at: datetime
    request_headers: str
    outcome: Outcome
    step: Step
    next_attempt_at: datetime | None
    """By this host's clock. The stored time is PostgreSQL's, plus the step's delay."""
    finished_at: datetime | None
    worker: str
    url: str
    """The URL that it was sent to."""
    event_delay_s: float | None = None
    """The time from the event to the request; None if this is not the first attempt, or it sent nothing."""


_SQL = """
WITH moved AS (
    UPDATE delivery_delivery d
    SET attempt_count = batch.number, last_status_code = batch.status_code,
        status = CASE WHEN d.status = 'pending' OR batch.status = 'succeeded' THEN batch.status ELSE d.status END,
        last_error = CASE WHEN d.status = 'pending' OR batch.status = 'succeeded' THEN batch.detail
                          ELSE d.last_error END,
        next_attempt_at = CASE WHEN d.status = 'pending'
                               THEN statement_timestamp() + batch.delay_s * interval '1 second' END,
        finished_at = coalesce(d.finished_at, batch.finished_at)
    FROM unnest(
        %b::text[], %b::int[], %b::timestamptz[], %b::float8[], %b::smallint[], %b::text[], %b::text[], %b::text[],
        %b::text[], %b::text[], %b::text[], %b::text[], %b::float8[], %b::timestamptz[]
    ) AS batch (delivery_id, number, started_at, latency_ms, status_code, error, detail, request_headers,
                response_headers, response_excerpt, worker, status, delay_s, finished_at)
    WHERE d.id = batch.delivery_id AND d.attempt_count < batch.number
    RETURNING batch.*, d.next_attempt_at IS NOT NULL OR d.finished_at = batch.finished_at AS was_pending
)
INSERT INTO delivery_attempt (delivery_id, number, started_at, latency_ms, status_code, error, detail,
                              request_headers, response_headers, response_excerpt, worker)
SELECT delivery_id, number, started_at, latency_ms, status_code, error, detail, request_headers,
       CASE WHEN was_pending THEN response_headers ELSE '' END, CASE WHEN was_pending THEN response_excerpt ELSE '' END,
       worker
FROM moved
ON CONFLICT (delivery_id, number) DO NOTHING
RETURNING delivery_id, number
"""
"""The delivery's row is the lock: the statement that updates it inserts the attempt. So no attempt is stored twice, and
none of a delivery that retention has removed. `RETURNING batch.*` avoids a join of updated rows and batch: hash joins
are off on the connections that keep plans (delivery.database), so it would compare each row with each.

A delivery that was ended meanwhile (its event was expunged, or its queue drained) keeps its end and gets no next
attempt, unless this attempt succeeded: then its status is `succeeded`. The answer's headers and excerpt are not stored,
because they may contain what was expunged."""


class Recorder:
    """The pipeline's `record`. Calls `observe` with the attempts that are new, for counts and metrics."""

    def __init__(self, observe: Callable[[Sequence[AttemptRecord]], None], ask: Ask = ask) -> None:
        self._observe = observe
        self._ask = ask

    def __call__(self, records: Sequence[AttemptRecord]) -> list[bool]:
        written = record(records, self._ask)
        self._observe([one for one, is_new in zip(records, written, strict=True) if is_new])
        return written


def record(records: Sequence[AttemptRecord], ask: Ask = ask) -> list[bool]:
    """Returns for each attempt whether it is new. After django.db.Error nothing is stored."""
    ordered = sorted(records, key=lambda one: one.delivery_id)  # every process locks rows in the same order
    written = set(ask(_SQL, _columns(ordered)))
    return [_remove(written, (one.delivery_id, one.number)) for one in records]


def _remove(written: set[tuple[Any, ...]], key: tuple[str, int]) -> bool:
    """Returns True once for each key: a batch has an attempt twice if its lease was lost and it came again."""
    try:
        written.remove(key)
    except KeyError:
        return False
    return True


def _columns(records: Sequence[AttemptRecord]) -> list[list[Any]]:
    """The values of each column. All floats must be `float`: psycopg refuses a list that mixes them with `int`."""
    rows = [
        (
            one.delivery_id,
            one.number,
            one.started_at,
            float(one.outcome.latency_ms),
            one.outcome.status_code,
            one.outcome.error or "",
            one.outcome.detail[:500],
            one.request_headers,
            headers_text(one.outcome.response_headers),
            one.outcome.response_excerpt,
            one.worker,
            one.step.status,
            None if one.step.delay_s is None else float(one.step.delay_s),
            one.finished_at,
        )
        for one in records
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def headers_text(headers: Any) -> str:
    """The headers as lines, `name: value`."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


def disable_gone(records: Sequence[AttemptRecord], lock_wait_ms: int = 0) -> None:
    """Disables the attempts' subscriptions, if the endpoints asked for it. Raises django.db.Error with nothing changed.

    Leaves out a subscription that has changed since the request was sent, because the answer may not apply to it any
    more; if it does, the next answer disables it. Waits `lock_wait_ms` for each subscription's row, 0 means for ever.
    """
    asked = {one.subscription_id: one for one in records if one.step.disable}
    if not asked:
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [str(lock_wait_ms)])
        rows = Subscription.objects.select_for_update().filter(pk__in=asked).order_by("pk")
        gone = [
            row
            for row in rows.only("url", "updated_at")
            if row.url == asked[row.pk].url and row.updated_at <= asked[row.pk].started_at
        ]
        disable_subscriptions(gone, DISABLE_GONE)
