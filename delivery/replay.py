"""Replays: send a subscription's events of a span of time again, or those that it missed.

    all        every event that the subscription asks for now, unless its delivery is pending
    failed     dead deliveries
    missing    events that it asks for now and that never became a delivery: they came before it existed, or while it
               was disabled

A job is a row in PostgreSQL. Each step is committed together with the job's progress, so a job queues each delivery at
most once, whatever crashes. Steps are small, each looks at a bounded number of events, and they are taken only while
the partner's queue is short: live events wait behind a few hundred replayed ones at most, and the partner's rate limit
sets the pace.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Window
from django.db.models.functions import Random, RowNumber
from django.utils import timezone

from delivery import publish
from delivery.clocks import database_now
from delivery.due import Due
from delivery.models import Delivery, Event, ReplayJob
from delivery.passing import is_away
from delivery.replayed_events import Position, Row, Wanted, page, settled_until, source
from partners import audit
from partners.envelope import Envelope, rfc3339
from partners.errors import JSONError, SpecError, TransformError
from partners.filters import compile_filter
from partners.identifiers import DELIVERY, new_id
from partners.models import Subscription
from partners.query_time import TooSlow, limited

logger = logging.getLogger(__name__)

ROUTED_WITHIN = timedelta(seconds=10)
"""Events are routed as a subscription was changed from a second later; if a connection to PostgreSQL was lost, a few
seconds more."""
ROOM = 400
"""A replay waits while this many messages or more are ready in the partner's queue."""
COUNTED_UP_TO = 100_000
COUNTED_FOR_S = 5.0
STEPS = 10
"""How many steps of a job a run takes at most."""
WITHIN_S = 5.0
"""After this time a run starts no further job."""
JOB_WITHIN_S = 1.0
"""After this time a job starts no further step, so that others get their turns."""
FILTER_S = 1.0
"""How long a step evaluates the filter; the event that it is at then is finished."""
Mode, Status = ReplayJob.Mode, ReplayJob.Status
Pages = Callable[[Wanted, Position], tuple[list[Row], Position | None]]
"""The type of `page`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    count: int | None
    """None: counting takes too long."""
    is_exact: bool
    """False: there may be fewer, because the filter was not evaluated, or more, because counting stops at a limit."""


def estimate(wanted: Wanted) -> Estimate:
    """Estimates how many deliveries a replay would queue."""
    from_where, values = source(wanted)
    try:
        with limited(COUNTED_FOR_S), connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM (SELECT 1 {from_where} LIMIT {COUNTED_UP_TO + 1}) AS found", values)  # noqa: S608 - our own constants
            count = int(cursor.fetchone()[0])
    except TooSlow:
        return Estimate(None, False)
    filtered = bool(wanted.subscription.filter) and wanted.mode != Mode.FAILED
    return Estimate(min(count, COUNTED_UP_TO), not count or (count <= COUNTED_UP_TO and not filtered))


def start_replay(wanted: Wanted) -> ReplayJob:
    """Starts a job. Raises ValidationError if the subscription is disabled or operational, or has a running job."""
    counted = estimate(wanted)  # may take some seconds, so before the row is locked
    with transaction.atomic():
        current = Subscription.objects.select_for_update().get(pk=wanted.subscription.pk)
        if current.is_operational:
            raise ValidationError("operational events are not replayed: retry single deliveries")
        if not current.is_enabled:
            raise ValidationError("the subscription is disabled: enable it first")
        if ReplayJob.objects.filter(subscription=current, status=Status.RUNNING).exists():
            raise ValidationError("a replay of this subscription is running: cancel it or wait")
        job = ReplayJob.objects.create(
            partner_id=current.partner_id,
            subscription=current,
            mode=wanted.mode,
            since=wanted.since,
            until=_until(wanted, current),
            total=counted.count or 0,
            is_total_exact=counted.is_exact,
        )
        audit.record("replay.start", job, partner_id=job.partner_id, after={"mode": job.mode, "total": job.counted})
    return job


def _until(wanted: Wanted, current: Subscription) -> datetime:
    """Not later than now, else the job would wait for what is to come. But those that ask for what was missed until
    now, right after they enabled the subscription, also miss what is still routed without it."""
    until = min(wanted.until, database_now())
    if wanted.mode == Mode.MISSING and until >= current.updated_at:
        return max(until, current.updated_at + ROUTED_WITHIN)
    return until


def cancel_replay(job: ReplayJob) -> bool:
    """Ends a job; what it has queued is still sent. Returns False if it had ended already."""
    with transaction.atomic():
        changed = ReplayJob.objects.filter(pk=job.pk, status=Status.RUNNING).update(
            status=Status.CANCELED, finished_at=timezone.now()
        )
        if changed:
            audit.record("replay.cancel", job, partner_id=job.partner_id)
    job.refresh_from_db()
    return bool(changed)


def run_replays() -> int:
    """Takes a few steps of each running job, within a limit of time; returns how many deliveries were queued."""
    queued, ends = 0, time.monotonic() + WITHIN_S
    for job_id, partner_id in in_turns():
        try:
            queued += _bring_on(job_id, partner_id)
        except Exception as error:
            if is_away(error):
                raise
            logger.exception("replay failed", extra={"replay": job_id})
            _fail(job_id, error)
        if time.monotonic() > ends:
            break
    return queued


def in_turns() -> list[tuple[str, str]]:
    """The running jobs with their partners: first one of each partner, then a second one of each, and so on, so that a
    partner with a thousand does not hold up others; at random, so that the same slow ones are not always first."""
    turn = Window(RowNumber(), partition_by="partner_id", order_by=Random())
    running = ReplayJob.objects.filter(status=Status.RUNNING).annotate(turn=turn)
    return list(running.order_by("turn", "?").values_list("pk", "partner_id"))


def _bring_on(job_id: str, partner_id: str) -> int:
    queued, ends = 0, time.monotonic() + JOB_WITHIN_S
    for _ in range(STEPS):
        if not _has_room(partner_id):
            break
        due = step(job_id)
        if due is None:
            break
        queued += len(due)
        publish.publish_or_leave(due, "replay", publish.publish)
        if time.monotonic() > ends:
            break
    return queued


def step(job_id: str, read: Pages = page, filter_s: float = FILTER_S) -> Sequence[Due] | None:
    """Processes one page of a job and commits its progress. None if the job has ended, or another worker holds it."""
    with transaction.atomic(durable=True):
        job = ReplayJob.objects.select_for_update(skip_locked=True).filter(pk=job_id, status=Status.RUNNING).first()
        if job is None:
            return None
        subscription = Subscription.objects.get(pk=job.subscription_id)
        if not subscription.is_enabled:
            _end(job, Status.FAILED, "the subscription was disabled")
            return None
        wanted = Wanted(subscription, job.mode, job.since, min(job.until, settled_until()))
        after = (job.after_at or job.since, job.after_id)
        rows, reached = read(wanted, after)
        chosen, asked = _chosen(wanted, rows, filter_s)
        due = _make_pending(wanted, chosen)
        job.queued += len(due)
        job.skipped += asked - len(due)
        if asked < len(rows):
            reached = rows[asked - 1].position
        if reached is None and wanted.until < job.until:  # more may come: a bridge is storing events
            reached = rows[-1].position if rows else after
        if reached is None:
            _end(job, Status.DONE)
        else:
            job.after_at, job.after_id = reached
            job.save()
    return due


def _chosen(wanted: Wanted, rows: Sequence[Row], filter_s: float) -> tuple[Sequence[Row], int]:
    """The rows that pass the filter, and how many were evaluated: time is limited, because cancelling waits for it."""
    if wanted.mode == Mode.FAILED or not wanted.subscription.filter:
        return rows, len(rows)
    ends, chosen = time.monotonic() + filter_s, []
    for asked, row in enumerate(rows, start=1):
        if _is_wanted(wanted.subscription.filter, row):
            chosen.append(row)
        if time.monotonic() > ends:
            return chosen, asked
    return chosen, len(rows)


def _make_pending(wanted: Wanted, chosen: Sequence[Row]) -> list[Due]:
    """Creates deliveries of these events, or makes existing ones pending again. Skips those that are pending."""
    subscription = wanted.subscription
    there = _lock_events([row.event_id for row in chosen if row.delivery_id is None])
    now = database_now()
    known = [row.delivery_id for row in chosen if row.delivery_id is not None]
    ended = Delivery.objects.select_for_update().filter(pk__in=known).exclude(status=Delivery.Status.PENDING)
    again = list(ended.order_by("pk"))
    Delivery.objects.filter(pk__in=[one.pk for one in again]).update(
        status=Delivery.Status.PENDING, next_attempt_at=now, finished_at=None
    )
    new = [
        Delivery(
            id=new_id(DELIVERY),
            event_id=row.event_id,
            subscription_id=subscription.pk,
            partner_id=subscription.partner_id,
            event_type=row.event_type,
            next_attempt_at=now,
            created_at=now,
        )
        for row in chosen
        if row.event_id in there
    ]
    Delivery.objects.bulk_create(new, ignore_conflicts=True)
    stored = set(Delivery.objects.filter(pk__in=[one.pk for one in new]).values_list("pk", flat=True))
    return [one.next_due for one in [*again, *(one for one in new if one.pk in stored)]]


def _lock_events(event_ids: Sequence[str]) -> frozenset[str]:
    """Locks the events that still exist until the transaction ends: retention skips locked rows."""
    held = Event.objects.select_for_update(no_key=True).filter(pk__in=event_ids).order_by("pk")
    return frozenset(held.values_list("pk", flat=True))


def _is_wanted(filter_: str, row: Row) -> bool:
    envelope = Envelope(row.event_id, row.event_type, rfc3339(row.occurred_at), row.data.encode())
    try:
        return compile_filter(filter_).matches(envelope)
    except (TransformError, JSONError):
        return False


def _end(job: ReplayJob, status: str, reason: str = "") -> None:
    job.status, job.reason, job.finished_at = status, reason, timezone.now()
    job.save()


def _fail(job_id: str, error: Exception) -> None:
    reason = f"the subscription's filter: {error}" if isinstance(error, SpecError) else "internal error"
    ReplayJob.objects.filter(pk=job_id, status=Status.RUNNING).update(
        status=Status.FAILED, reason=reason[:200], finished_at=timezone.now()
    )


def _has_room(partner_id: str) -> bool:
    queue = publish.queue_of(partner_id)
    try:
        return publish.queues().stats([queue])[queue].ready < ROOM
    except publish.BrokerUnavailable:
        return False
