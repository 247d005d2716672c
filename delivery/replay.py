"""Replays: sends again what a subscription got, or sends what it missed, since a time.

    all        every event that the subscription asks for now, whether it was delivered or not
    failed     deliveries that are dead
    missing    events it asks for now that never became a delivery: from before it existed, or while it was disabled

A job lives in PostgreSQL: how far it came is committed together with what it did, so each delivery is sent at most once
by it, whatever dies. It goes on in small steps, each bounded by what it looks at, and only while the partner's queue is
short: live events wait behind a few hundred replayed ones at most, and the partner's own rate limit paces the whole.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from delivery import publish
from delivery.broker import FairQueues
from delivery.clocks import database_now
from delivery.due import Due
from delivery.models import Delivery, Event, ReplayJob
from delivery.passing import is_away
from delivery.replayed_events import Position, Row, Wanted, page, source
from partners import audit
from partners.envelope import Envelope, rfc3339
from partners.errors import JSONError, SpecError, TransformError
from partners.filters import compile_filter
from partners.identifiers import DELIVERY, new_id
from partners.models import Subscription
from partners.query_time import TooSlow, limited

logger = logging.getLogger(__name__)

ROOM = 400
"""Messages that may be ready in the partner's queue before a replay waits."""
COUNTED_UP_TO = 100_000
COUNTED_FOR_S = 5.0
WITHIN_S = 5.0
"""A run, and one step more."""
FILTER_S = 1.0
"""A filter, in one step, and one event more."""
Mode, Status = ReplayJob.Mode, ReplayJob.Status
Pages = Callable[[Wanted, Position], tuple[list[Row], Position | None]]
"""`page`, or one like it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    count: int | None
    """None: too much has to be looked through to count."""
    is_exact: bool
    """False: there may be fewer, because the filter is asked later, or more than are counted."""


def estimate(wanted: Wanted) -> Estimate:
    """How many deliveries a replay would send."""
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
    """A job that runs from now on. Raises ValidationError when the subscription can't get anything, or has one."""
    counted = estimate(wanted)  # may take some seconds: nobody is to wait for the row meanwhile
    with transaction.atomic():
        current = Subscription.objects.select_for_update().get(pk=wanted.subscription.pk)
        if not current.is_enabled or current.is_operational:
            raise ValidationError("the subscription is disabled or operational")
        if ReplayJob.objects.filter(subscription=current, status=Status.RUNNING).exists():
            raise ValidationError("a replay of this subscription is running: cancel it or wait")
        job = ReplayJob.objects.create(
            partner_id=current.partner_id,
            subscription=current,
            mode=wanted.mode,
            since=wanted.since,
            until=wanted.until,
            total=counted.count or 0,
            is_total_exact=counted.is_exact,
        )
        audit.record("replay.start", job, partner_id=job.partner_id, after={"mode": job.mode, "total": job.counted})
    return job


def cancel_replay(job: ReplayJob) -> bool:
    """Nothing more is queued; what is queued is sent. False when it had ended."""
    with transaction.atomic():
        changed = ReplayJob.objects.filter(pk=job.pk, status=Status.RUNNING).update(
            status=Status.CANCELED, finished_at=timezone.now()
        )
        if changed:
            audit.record("replay.cancel", job, partner_id=job.partner_id)
    job.refresh_from_db()
    return bool(changed)


def run_replays(queues: FairQueues | None = None, steps: int = 10, within_s: float = WITHIN_S) -> int:
    """Brings running jobs on by a few steps each, as far as the time goes; returns how many deliveries were queued."""
    running = ReplayJob.objects.filter(status=Status.RUNNING).values_list("pk", "partner_id")
    ends = time.monotonic() + within_s
    queued = 0
    for job_id, partner_id in running.order_by("?"):  # those that take long are not always the first
        try:
            queued += _bring_on(job_id, partner_id, steps, queues)
        except Exception as error:
            if is_away(error):
                raise
            logger.exception("a replay broke", extra={"replay": job_id})
            _fail(job_id, error)
        if time.monotonic() > ends:
            break
    return queued


def _bring_on(job_id: str, partner_id: str, steps: int, queues: FairQueues | None) -> int:
    queued = 0
    for _ in range(steps):
        if not _has_room(partner_id, queues):
            break
        due = step(job_id)
        if due is None:
            break
        queued += len(due)
        publish.publish_or_leave(due, "replay", partial(publish.publish, to=queues))
    return queued


def step(job_id: str, read: Pages = page, filter_s: float = FILTER_S) -> Sequence[Due] | None:
    """One page of a job, committed with how far it came; None when there is nothing left to do for it now."""
    with transaction.atomic(durable=True):
        job = ReplayJob.objects.select_for_update(skip_locked=True).filter(pk=job_id, status=Status.RUNNING).first()
        if job is None:
            return None
        subscription = Subscription.objects.get(pk=job.subscription_id)
        if not subscription.is_enabled:
            _end(job, Status.FAILED, "the subscription was disabled")
            return None
        wanted = Wanted(subscription, job.mode, job.since, job.until)
        rows, reached = read(wanted, (job.after_at or job.since, job.after_id))
        chosen, asked = _chosen(wanted, rows, filter_s)
        due = _again(wanted, chosen)
        job.queued += len(due)
        job.skipped += asked - len(due)
        if asked < len(rows):
            reached = rows[asked - 1].position
        if reached is None:
            _end(job, Status.DONE)
        else:
            job.after_at, job.after_id = reached
            job.save()
    return due


def _chosen(wanted: Wanted, rows: Sequence[Row], filter_s: float) -> tuple[Sequence[Row], int]:
    """Those that the filter wants, and about how many it was asked: its time is short, whoever cancels waits for it."""
    if wanted.mode == Mode.FAILED or not wanted.subscription.filter:
        return rows, len(rows)
    ends, chosen = time.monotonic() + filter_s, []
    for asked, row in enumerate(rows, start=1):
        if _is_wanted(wanted.subscription.filter, row):
            chosen.append(row)
        if time.monotonic() > ends:
            return chosen, asked
    return chosen, len(rows)


def _again(wanted: Wanted, chosen: Sequence[Row]) -> list[Due]:
    """Makes these pending, new or again; leaves out what has become pending."""
    subscription = wanted.subscription
    there = _hold([row.event_id for row in chosen if row.delivery_id is None])
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


def _hold(event_ids: Sequence[str]) -> frozenset[str]:
    """Those that are still there, and stay until the transaction ends: retention leaves out what is locked."""
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
    reason = f"the subscription's filter: {error}" if isinstance(error, SpecError) else "it broke: a mistake of ours"
    ReplayJob.objects.filter(pk=job_id, status=Status.RUNNING).update(
        status=Status.FAILED, reason=reason[:200], finished_at=timezone.now()
    )


def _has_room(partner_id: str, queues: FairQueues | None) -> bool:
    queue = publish.queue_of(partner_id)
    try:
        return (queues or publish.queues()).stats([queue])[queue].ready < ROOM
    except publish.BrokerUnavailable:
        return False
