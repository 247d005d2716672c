"""What people can do with deliveries and events, for the admin, the API and the commands: retry, test, expunge.

A verb raises django.core.exceptions.ValidationError with the reason if it makes no sense; else it commits, and then
queues the attempt, before all that wait for this partner. If the broker is away, reconciliation queues it later.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

import orjson
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.utils import timezone

from delivery import publish
from delivery.clocks import database_now
from delivery.deliver import EXPUNGED
from delivery.due import Queued
from delivery.messages import OUR_SOURCE
from delivery.models import Attempt, Delivery, Event
from delivery.operational.kinds import KINDS
from partners import audit
from partners.identifiers import EVENT, new_id
from partners.models import EventType, Subscription
from partners.patterns import EVERYTHING, asks_for

TEST_SOURCE = f"{OUR_SOURCE}:test"
NO_DATA = "null"
_NO_SAMPLE = '{"test": true}'
_ALREADY_DUE = timedelta(seconds=1)


def retry_delivery(delivery: Delivery, *, is_one_of_many: bool = False) -> None:
    """Makes the delivery's next attempt now; the schedule goes on from there. A finished delivery is pending again.

    One of many waits for its turn behind all others.
    """
    with transaction.atomic():
        locked = Delivery.objects.select_for_update(of=("self",)).select_related("subscription", "event")
        current = locked.get(pk=delivery.pk)
        _check_enabled(current.subscription)
        if current.event.expunged_at is not None:
            raise ValidationError(EXPUNGED)
        now = database_now()
        if current.next_attempt_at is not None and current.next_attempt_at > now + _ALREADY_DUE:
            current.brought_forward = current.attempt_count + 1
        current.status = Delivery.Status.PENDING
        current.next_attempt_at = now
        current.finished_at = None
        current.save(update_fields=["status", "next_attempt_at", "brought_forward", "finished_at"])
        audit.record("delivery.retry", current, partner_id=current.partner_id)
        _queue_on_commit(current, publish.publish_briefly if is_one_of_many else publish.publish_first)


def send_test_event(subscription: Subscription, event_type: str = "") -> Delivery:
    """Sends an event with the catalogue's sample to this subscription alone, like any other event.

    Without a type, sends one that matches the subscription's first pattern. The filter does not apply.
    """
    _check_enabled(subscription)
    type_ = event_type or type_for(subscription)
    return send_to(subscription, type_, sample_of(type_), TEST_SOURCE)


def send_to(subscription: Subscription, type_: str, data: str, source: str, *, event_id: str = "") -> Delivery:
    """Sends an event of our own to one subscription, whatever it subscribed to. `data` is JSON."""
    now = timezone.now()
    with transaction.atomic():
        event = Event.objects.create(
            id=event_id or new_id(EVENT), type=type_, source=source, occurred_at=now, received_at=now, data=data
        )
        delivery = Delivery.objects.create(
            event=event,
            subscription=subscription,
            partner_id=subscription.partner_id,
            event_type=type_,
            next_attempt_at=now,
            created_at=now,
        )
        _queue_on_commit(delivery)
    return delivery


def expunge_event(event: Event) -> bool:
    """Removes an event's data and the answers of endpoints, for good. Returns False if that was done before.

    The rows of the event and its deliveries stay, so that the event is still a duplicate if it comes again. Pending
    deliveries become dead; those that were still to be made are not made.
    """
    now = timezone.now()
    with transaction.atomic():
        changed = Event.objects.filter(pk=event.pk, expunged_at=None).update(
            data=NO_DATA, schema_error="", expunged_at=now
        )
        if changed:
            event.fan_outs.all().delete()
            list(event.deliveries.select_for_update().order_by("pk").values_list("pk"))  # in the recorder's order
            event.deliveries.filter(status=Delivery.Status.PENDING).update(
                status=Delivery.Status.DEAD, next_attempt_at=None, finished_at=now, last_error=EXPUNGED
            )
            Attempt.objects.filter(delivery__event_id=event.pk).update(response_excerpt="", response_headers="")
            audit.record("event.expunge", event, partner_id=None)
    event.refresh_from_db()
    return bool(changed)


def type_for(subscription: Subscription) -> str:
    """A type that the first pattern matches: itself, else one in the catalogue (with a sample if possible), else a
    made-up one. Of a subscription for operational events, one of these."""
    if subscription.is_operational:
        return next(iter(KINDS))
    pattern = subscription.event_types[0]
    if not pattern.endswith("*"):
        return pattern
    known = known_types([pattern])
    return known[0] if known else ("test.event" if pattern == EVERYTHING else f"{pattern[:-1]}test")


def sample_of(type_: str) -> str:
    """The catalogue's sample, that of an operational event, or data that says that it is a test."""
    found = EventType.objects.filter(pk=type_).values_list("sample", flat=True).first()
    if not found and type_ in KINDS:
        return orjson.dumps(KINDS[type_].sample).decode()
    return found or _NO_SAMPLE


def types_to_try(subscription: Subscription) -> list[str]:
    """The known types that it asks for, those with a sample first."""
    return list(KINDS) if subscription.is_operational else known_types(subscription.event_types)


def known_types(patterns: Sequence[str]) -> list[str]:
    """The types in the catalogue that a pattern matches, those with a sample first."""
    return [one.name for one in catalogued_types() if asks_for(patterns, one.name)]


def catalogued_types() -> QuerySet[EventType]:
    """The types in the catalogue, those with a sample first."""
    without_sample = ExpressionWrapper(Q(sample=""), BooleanField())
    return EventType.objects.filter(is_catalogued=True).only("name").order_by(without_sample, "name")


def _check_enabled(subscription: Subscription) -> None:
    if subscription.deleted_at is not None:
        raise ValidationError("its subscription is deleted")
    if not subscription.is_enabled:
        raise ValidationError("its subscription is disabled: enable it first")


def _queue_on_commit(delivery: Delivery, send: Callable[[Sequence[Queued]], object] = publish.publish_first) -> None:
    due = [delivery.next_due]  # as it is now
    transaction.on_commit(lambda: publish.publish_or_leave(due, "verbs", send))
