"""Replays: sends again what a subscription got, or sends what it missed, since a time.

    all        every event that the subscription asks for now, whether it was delivered or not
    failed     deliveries that are dead
    missing    events it asks for now that never became a delivery: from before it existed, or while it was disabled

A job lives in PostgreSQL: how far it came is committed together with what it did, so each delivery is sent at most once
by it, whatever dies. It goes on in small steps, and only while the partner's queue is short: live events wait behind a
few hundred replayed ones at most, and the partner's own rate limit paces the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from delivery import publish
from delivery.broker import FairQueues
from delivery.clocks import database_now
from delivery.due import Due
from delivery.messages import OUR_SOURCE
from delivery.models import Delivery, Event, ReplayJob
from partners import audit
from partners.envelope import Envelope, rfc3339
from partners.errors import JSONError, TransformError
from partners.filters import compile_filter
from partners.identifiers import DELIVERY, new_id
from partners.models import Subscription

PAGE = 200
ROOM = 400
"""Messages that may be ready in the partner's queue before a replay waits."""
COUNTED_UP_TO = 100_000
Mode, Status = ReplayJob.Mode, ReplayJob.Status


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be replayed: from `since` to before `until`."""

    subscription: Subscription
    mode: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Estimate:
    count: int
    is_exact: bool
    """False: there may be fewer, because the filter is asked later, or more than are counted."""


def estimate(wanted: Wanted) -> Estimate:
    """How many deliveries a replay would send."""
    source, values = _source(wanted)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM (SELECT 1 {source} LIMIT {COUNTED_UP_TO + 1}) AS found", values)  # noqa: S608 - our own constants
        count = int(cursor.fetchone()[0])
    filtered = bool(wanted.subscription.filter) and wanted.mode != Mode.FAILED
    return Estimate(min(count, COUNTED_UP_TO), count <= COUNTED_UP_TO and not filtered)


def start_replay(wanted: Wanted) -> ReplayJob:
    """A job that runs from now on. Raises ValidationError when the subscription can't get anything, or has one."""
    counted = estimate(wanted)  # takes long where much is found: nobody is to wait for the row meanwhile
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
            total=counted.count,
            is_total_exact=counted.is_exact,
        )
        audit.record("replay.start", job, partner_id=job.partner_id, after={"mode": job.mode, "total": job.total})
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


def run_replays(queues: FairQueues | None = None, steps: int = 10) -> int:
    """Brings every running job on by a few steps; returns how many deliveries were queued."""
    running = ReplayJob.objects.filter(status=Status.RUNNING).values_list("pk", "partner_id").order_by("pk")
    queued = 0
    for job_id, partner_id in running:
        for _ in range(steps):
            if not _has_room(partner_id, queues):
                break
            due = step(job_id)
            if due is None:
                break
            queued += len(due)
            publish.publish_or_leave(due, "replay", partial(publish.publish, to=queues))
    return queued


def step(job_id: str) -> Sequence[Due] | None:
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
        rows = _page(wanted, job)
        due = _again(wanted, rows)
        job.queued += len(due)
        job.skipped += len(rows) - len(due)
        if len(rows) < PAGE:
            _end(job, Status.DONE)
        else:
            job.after_at, job.after_id = rows[-1].received_at, rows[-1].event_id
            job.save()
    return due


@dataclass(frozen=True, slots=True)
class _Row:
    event_id: str
    event_type: str
    received_at: datetime
    occurred_at: datetime
    data: str
    delivery_id: str | None
    attempt_count: int | None
    status: str | None


def _source(wanted: Wanted) -> tuple[str, list[Any]]:
    """FROM and WHERE of the events that a replay is about."""
    values: list[Any] = [wanted.subscription.pk, wanted.since, wanted.until, f"{OUR_SOURCE}%"]
    condition = ""
    if wanted.mode == Mode.FAILED:
        condition = "AND d.status = 'dead'"
    else:
        condition = "AND (d.id IS NULL OR d.status <> 'pending')" if wanted.mode == Mode.ALL else "AND d.id IS NULL"
        condition += " AND (e.type = ANY(%s) OR e.type LIKE ANY(%s))"
        patterns = wanted.subscription.event_types
        below = [pattern[:-1].replace("_", r"\_") + "%" for pattern in patterns if pattern.endswith("*")]
        values += [[pattern for pattern in patterns if not pattern.endswith("*")], below]
    source = f"""
        FROM delivery_event e LEFT JOIN delivery_delivery d ON d.event_id = e.id AND d.subscription_id = %s
        WHERE e.received_at >= %s AND e.received_at < %s AND e.source NOT LIKE %s AND e.expunged_at IS NULL {condition}
    """
    return source, values


def _page(wanted: Wanted, job: ReplayJob) -> list[_Row]:
    source, values = _source(wanted)
    sql = f"""
        SELECT e.id, e.type, e.received_at, e.occurred_at, e.data, d.id, d.attempt_count, d.status {source}
        AND (e.received_at, e.id) > (%s, %s) ORDER BY e.received_at, e.id LIMIT {PAGE}
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, job.after_at or wanted.since, job.after_id])
        return [_Row(*row) for row in cursor.fetchall()]


def _again(wanted: Wanted, rows: Sequence[_Row]) -> list[Due]:
    """Makes these pending, new or again; leaves out what the filter does not want and what has become pending."""
    subscription = wanted.subscription
    chosen = rows if wanted.mode == Mode.FAILED else [row for row in rows if _is_wanted(subscription.filter, row)]
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


def _is_wanted(filter_: str, row: _Row) -> bool:
    envelope = Envelope(row.event_id, row.event_type, rfc3339(row.occurred_at), row.data.encode())
    try:
        return not filter_ or compile_filter(filter_).matches(envelope)
    except (TransformError, JSONError):
        return False


def _end(job: ReplayJob, status: str, reason: str = "") -> None:
    job.status, job.reason, job.finished_at = status, reason, timezone.now()
    job.save()


def _has_room(partner_id: str, queues: FairQueues | None) -> bool:
    queue = publish.queue_of(partner_id)
    try:
        return (queues or publish.queues()).stats([queue])[queue].ready < ROOM
    except publish.BrokerUnavailable:
        return False
