"""Retrying and sending test events, with a real Valkey behind them."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from delivery import publish
from delivery.due import Due
from delivery.metrics.process import REGISTRY
from delivery.models import Delivery, Event
from delivery.reconcile import reconcile
from delivery.verbs import retry_delivery, send_test_event
from partners import services
from partners.identifiers import new_id
from partners.models import EventType, Subscription
from tests import rows

pytestmark = [pytest.mark.django_db, pytest.mark.servers, pytest.mark.usefixtures("wiped_queues")]


def new_subscription(*event_types: str) -> Subscription:
    partner = services.create_partner(new_id("ptr"))
    return services.create_subscription(partner, "https://hooks.example.com/recart", event_types or ["*"])


def new_delivery(status: str, next_attempt_at: datetime | None = None, attempt_count: int = 2) -> Delivery:
    at = next_attempt_at or timezone.now()
    return rows.new_delivery(new_subscription(), at=at, status=status, attempt_count=attempt_count)


def queued(delivery: Delivery) -> list[Any]:
    """The arguments of the messages that are ready in the partner's queue."""
    messages = publish.queues().client.lrange(publish.queue_of(delivery.partner_id), 0, -1)
    return [json.loads(message)["headers"]["argsrepr"] for message in messages]


@pytest.mark.parametrize("status", ["dead", "succeeded"])
def test_a_delivery_that_ended_is_pending_again_and_its_next_attempt_is_queued(
    status: str, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    delivery = new_delivery(status)

    with django_capture_on_commit_callbacks(execute=True):
        retry_delivery(delivery)

    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempt_count, delivery.finished_at) == ("pending", 2, None)
    assert delivery.next_attempt_at is not None
    assert timezone.now() - delivery.next_attempt_at < timedelta(seconds=30)
    assert queued(delivery) == [f"orders.created {delivery.pk} attempt 3"]


@pytest.mark.parametrize(("is_one_of_many", "place"), [(False, -1), (True, 0)])
def test_a_retry_does_not_wait_for_a_backlog_unless_it_is_one_of_many(
    is_one_of_many: bool, place: int, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    delivery = new_delivery("dead")
    publish.publish([Due(f"dlv_{n}", 1, delivery.partner_id, "orders.created") for n in range(3)])

    with django_capture_on_commit_callbacks(execute=True):
        retry_delivery(delivery, is_one_of_many=is_one_of_many)

    assert queued(delivery)[place] == f"orders.created {delivery.pk} attempt 3", "the next one is on the right"


def test_a_delivery_that_waits_for_its_time_is_brought_forward(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    later = timezone.now() + timedelta(hours=2)
    delivery = new_delivery("pending", later)
    waiting = Due(delivery.pk, 3, delivery.partner_id, delivery.event_type, later.timestamp())
    publish.publish([waiting])
    assert queued(delivery) == []

    with django_capture_on_commit_callbacks(execute=True):
        retry_delivery(delivery)
        retry_delivery(delivery)

    assert queued(delivery) == [f"orders.created {delivery.pk} attempt 3"]


def test_an_attempt_that_was_brought_forward_but_not_queued_is_queued_by_the_next_retry(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    delivery = brought_forward_and_lost(django_capture_on_commit_callbacks)

    with django_capture_on_commit_callbacks(execute=True):
        retry_delivery(delivery)

    assert queued(delivery) == [f"orders.created {delivery.pk} attempt 3"]


@pytest.mark.parametrize("is_wiped", [False, True])
def test_an_attempt_that_was_brought_forward_but_not_queued_is_queued_by_reconciliation_once(
    is_wiped: bool, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    delivery = brought_forward_and_lost(django_capture_on_commit_callbacks)
    if is_wiped:
        publish.queues().client.flushdb()
    else:
        publish.queues().mark()

    for _ in range(2):
        reconcile(grace_s=0)
    with django_capture_on_commit_callbacks(execute=True):
        retry_delivery(delivery)

    assert queued(delivery) == [f"orders.created {delivery.pk} attempt 3"]


def test_the_attempt_after_one_that_was_brought_forward_is_an_ordinary_one(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    delivery = brought_forward_and_lost(django_capture_on_commit_callbacks)
    Delivery.objects.filter(pk=delivery.pk).update(attempt_count=3)
    publish.publish([Due(delivery.pk, 4, delivery.partner_id, delivery.event_type)])
    publish.queues().mark()

    reconcile(grace_s=0)

    assert queued(delivery) == [f"orders.created {delivery.pk} attempt 4"]


def brought_forward_and_lost(capture: DjangoCaptureOnCommitCallbacks) -> Delivery:
    """The process ended between the commit and publishing: the broker still holds only the message for later."""
    later = timezone.now() + timedelta(hours=2)
    delivery = new_delivery("pending", later)
    publish.publish([Due(delivery.pk, 3, delivery.partner_id, delivery.event_type, later.timestamp())])
    with capture(execute=False):
        retry_delivery(delivery)
    return delivery


def test_a_delivery_that_is_in_the_queue_already_is_not_queued_twice(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    delivery = new_delivery("pending", timezone.now() - timedelta(minutes=1))
    publish.publish([Due(delivery.pk, 3, delivery.partner_id, delivery.event_type)])

    with django_capture_on_commit_callbacks(execute=True):
        retry_delivery(delivery)

    assert len(queued(delivery)) == 1


def test_nothing_is_retried_for_a_disabled_or_deleted_subscription_or_an_expunged_event() -> None:
    disabled, deleted, expunged = (new_delivery("dead") for _ in range(3))
    services.disable_subscription(disabled.subscription, "staff")
    services.delete_subscription(deleted.subscription)
    Event.objects.filter(pk=expunged.event_id).update(data="", expunged_at=timezone.now())

    for delivery, reason in ((disabled, "disabled"), (deleted, "deleted"), (expunged, "expunged")):
        with pytest.raises(ValidationError, match=reason):
            retry_delivery(delivery)
        delivery.refresh_from_db()
        assert delivery.status == "dead"


def broker_errors(part: str) -> float:
    return REGISTRY.get_sample_value("recart_hooks_broker_errors_total", {"part": part}) or 0.0


def test_a_broker_that_is_away_loses_nothing(
    broker_away: None, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    delivery, before = new_delivery("dead"), broker_errors("verbs")

    with django_capture_on_commit_callbacks(execute=True):
        retry_delivery(delivery)

    delivery.refresh_from_db()
    assert delivery.status == "pending"
    assert broker_errors("verbs") == before + 1


def test_a_test_event_goes_to_one_subscription_with_the_sample_of_its_type(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    EventType.objects.create(name="orders.created", sample='{"total": 1.10}')
    subscription, _other = new_subscription("orders.created"), new_subscription("orders.created")

    with django_capture_on_commit_callbacks(execute=True):
        delivery = send_test_event(subscription)

    assert (delivery.subscription, delivery.event_type, delivery.status) == (subscription, "orders.created", "pending")
    assert (delivery.event.data, delivery.event.source) == ('{"total": 1.10}', "recart-hooks:test")
    assert Delivery.objects.count() == 1
    assert queued(delivery) == [f"orders.created {delivery.pk} attempt 1"]


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("carts.abandoned", "carts.abandoned"),
        ("orders.*", "orders.fulfilled"),
        ("*", "orders.fulfilled"),
        ("loyalty.*", "loyalty.test"),
    ],
)
def test_the_type_of_a_test_event_matches_the_first_pattern(pattern: str, chosen: str) -> None:
    EventType.objects.create(name="orders.created")
    EventType.objects.create(name="orders.fulfilled", sample="{}")
    EventType.objects.create(name="orders.a", sample="{}", is_catalogued=False)

    assert send_test_event(new_subscription(pattern)).event_type == chosen


def test_the_endpoint_for_operational_events_is_tested_with_one_of_them() -> None:
    EventType.objects.create(name="carts.abandoned", sample="{}")
    partner = services.create_partner("Yotpo", operational_url="https://hooks.example.com/trouble")
    subscription = services.operational_subscription(partner)
    assert subscription

    delivery = send_test_event(subscription)

    assert delivery.event_type == "subscription.failing"
    assert json.loads(delivery.event.data)["url"] == "https://hooks.example.com/orders"


def test_a_test_event_of_a_chosen_type_without_a_sample_has_data_of_its_own() -> None:
    delivery = send_test_event(new_subscription("*"), "orders.created")

    assert (delivery.event_type, delivery.event.data) == ("orders.created", '{"test": true}')


def test_a_disabled_subscription_gets_no_test_event() -> None:
    subscription = new_subscription()
    services.disable_subscription(subscription, "staff")

    with pytest.raises(ValidationError, match="disabled"):
        send_test_event(subscription)
    assert not Event.objects.exists()
