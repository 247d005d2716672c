"""The story of a delivery in lines of text: its rows, where the broker holds its message, what it waits for."""

from collections.abc import Iterator
from datetime import UTC, datetime

import redis

from delivery import publish
from delivery.breaker_store import SharedBreakers
from delivery.clocks import moment_of
from delivery.models import Attempt, Delivery, Event
from partners.access_models import AuditEntry
from partners.models import FOREVER, Partner, Subscription
from partners.wording import counted


def event_story(event: Event) -> Iterator[str]:
    """Lines about the event, then about each of its deliveries."""
    yield from _event(event)
    deliveries = event.deliveries.order_by("pk")
    yield f"deliveries: {deliveries.count()}"
    for fan_out in event.fan_outs.order_by("pk"):
        yield f"  still to be made: those to partner {fan_out.partner_id} (fan-out {fan_out.pk})"
    for delivery in deliveries.iterator():
        yield ""
        yield from _delivery(delivery)


def delivery_story(delivery: Delivery) -> Iterator[str]:
    yield from _event(delivery.event)
    yield ""
    yield from _delivery(delivery)


def _event(event: Event) -> Iterator[str]:
    yield f"event {event.pk}: {event.type}" + (f" from {event.source}" if event.source else "")
    yield f"  happened {_at(event.occurred_at)}, received {_at(event.received_at)}, {len(event.data)} characters"
    if event.schema_error:
        yield f"  breaks its schema: {event.schema_error}"
    if event.expunged_at:
        yield f"  expunged {_at(event.expunged_at)}"


def _delivery(delivery: Delivery) -> Iterator[str]:
    yield f"delivery {delivery.pk}: {delivery.status} after {counted(delivery.attempt_count, 'attempt')}"
    yield from _subscription(delivery.subscription)
    yield from _partner(delivery.partner)
    yield f"  made {_at(delivery.created_at)}"
    for attempt in delivery.attempts.order_by("number"):
        yield _attempt(attempt)
    for entry in AuditEntry.objects.filter(subject_type="delivery", subject_id=delivery.pk).order_by("pk"):
        yield f"  {_at(entry.at)} {entry.action} by {entry.actor_name or entry.actor_kind}"
    if delivery.status == Delivery.Status.PENDING:
        yield f"  attempt {delivery.attempt_count + 1} is due {_at(delivery.next_attempt_at)}"
        yield from _broker(delivery)
    else:
        yield f"  ended {_at(delivery.finished_at)} {delivery.last_error}".rstrip()


def _subscription(subscription: Subscription) -> Iterator[str]:
    state = "enabled" if subscription.is_enabled else f"disabled ({subscription.disabled_reason})"
    if subscription.deleted_at is not None:
        state = f"deleted {_at(subscription.deleted_at)}"
    yield f"  subscription {subscription.pk}: {state}, {subscription.url}"


def _partner(partner: Partner) -> Iterator[str]:
    paused = f", paused until {_at(partner.paused_until)} by {partner.paused_by}" if partner.paused_until else ""
    rate = partner.rate_limit_in_force or "none"
    yield f"  partner {partner.pk} {partner.name}: rate limit {rate}, {partner.max_in_flight} in flight{paused}"


def _attempt(attempt: Attempt) -> str:
    outcome = f"{attempt.error}: {attempt.detail}" if attempt.error else f"{attempt.status_code}"
    took = f"in {attempt.latency_ms:.0f} ms by {attempt.worker}"
    return f"  {_at(attempt.started_at)} attempt {attempt.number}: {outcome} {took}"


def _broker(delivery: Delivery) -> Iterator[str]:
    due = delivery.next_due
    ids, queue, queues = due.message_ids, publish.queue_of(delivery.partner_id), publish.queues()
    try:
        held_by = publish.leased_by(due)
        is_lost = len(queues.missing(queue, ids)) == len(ids)
        stats = queues.stats([queue])[queue]
    except redis.RedisError as error:
        yield f"  broker: {error}"
        return
    where = "does not hold it" if is_lost else f"leased to {held_by}" if held_by else "holds it"
    yield f"  broker: {where}; its queue: {stats.ready} ready, {stats.delayed} delayed, {stats.in_flight} in flight"
    if stats.tokens is not None and stats.tokens < 1:
        yield "  the rate limit is used up at the moment: messages start one after another, as it allows"
    if stats.paused_until:
        yield f"  the queue is paused until {_at(moment_of(stats.paused_until))}"
    opened = SharedBreakers().read().get(delivery.subscription_id)
    if opened is not None:
        yield f"  the breaker has opened; the endpoint is probed from {_at(moment_of(opened.until))} on"


def _at(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    if moment >= FOREVER:
        return "somebody resumes it"
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
