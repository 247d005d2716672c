"""Attempts are recorded in batches and update their deliveries; the first record of an attempt counts."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connection, transaction

from delivery import verbs
from delivery.clocks import database_now
from delivery.deliver import EXPUNGED
from delivery.due import Due
from delivery.endpoints import EndpointCache
from delivery.jobs import JobLoader
from delivery.models import Attempt, Delivery, Event
from delivery.outcomes import ErrorClass, answered, failed
from delivery.passing import is_passing
from delivery.recorder import AttemptRecord, disable_gone, record
from delivery.retries import Step, decide
from delivery.verify import verify_hour
from partners.changes import Change
from partners.envelope import Envelope
from partners.errors import SecretError, TransformError
from partners.models import Subscription
from partners.services import (
    create_subscription,
    disable_subscription,
    enable_subscription,
    rotate_secret,
    update_subscription,
)
from tests.delivery.broker.waiting import until
from tests.locks import locked, somebody_waits
from tests.rows import new_delivery, new_event

pytestmark = [pytest.mark.django_db, pytest.mark.servers]

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def succeeded(due: Due, subscription: Subscription) -> AttemptRecord:
    return AttemptRecord(
        delivery_id=due.delivery_id,
        subscription_id=subscription.id,
        partner_id=due.partner_id,
        event_type=due.event_type,
        number=1,
        started_at=AT,
        request_headers="webhook-id: e0",
        outcome=answered(200, {"server": "nginx", "content-type": "text/plain"}, b"thanks", 12.5),
        step=Step("succeeded"),
        next_attempt_at=None,
        finished_at=AT,
        worker="here:1",
        url=subscription.url,
    )


def test_a_batch_of_attempts_updates_each_delivery(due: list[Due], subscription: Subscription) -> None:
    good = succeeded(due[0], subscription)
    later = AT + timedelta(seconds=5)
    bad = replace(
        succeeded(due[1], subscription),
        outcome=failed(ErrorClass.REFUSED, "connection refused", 3.0),
        step=Step("pending", 5.0),
        next_attempt_at=later,
        finished_at=None,
    )
    record([good, bad])
    first, second = (Delivery.objects.get(pk=one.delivery_id) for one in due[:2])
    assert (first.status, first.attempt_count, first.finished_at, first.last_status_code) == ("succeeded", 1, AT, 200)
    assert (second.status, second.attempt_count) == ("pending", 1)
    assert second.next_attempt_at is not None
    in_s = (second.next_attempt_at - database_now()).total_seconds()
    assert 0 < in_s <= 5, "by PostgreSQL's clock, not by the worker's"
    assert second.last_error == "connection refused"
    attempt = Attempt.objects.get(delivery=first)
    assert (attempt.latency_ms, attempt.status_code, attempt.error, attempt.response_excerpt) == (
        12.5,
        200,
        "",
        "thanks",
    )
    assert attempt.response_headers == "server: nginx\ncontent-type: text/plain"
    assert Attempt.objects.get(delivery=second).error == "refused"


def test_a_retry_after_that_is_capped_is_recorded_beside_one_that_is_not(
    due: list[Due], subscription: Subscription
) -> None:
    def retry(one: Due, retry_after: str) -> AttemptRecord:
        outcome = answered(503, {"retry-after": retry_after}, b"", 12.5)
        step = decide(outcome, 1, [5], retry_after_cap_s=24 * 3600, now=0.0, random=lambda: 0.5)
        return replace(succeeded(one, subscription), outcome=outcome, step=step, finished_at=None)

    assert record([retry(due[0], "30"), retry(due[1], "99999999999999")]) == [True, True]
    times = Delivery.objects.filter(status="pending", attempt_count=1).values_list("next_attempt_at", flat=True)
    assert sorted(round((at - database_now()).total_seconds() / 10) for at in times if at) == [3, 8640]


def test_a_second_record_of_the_same_attempt_changes_nothing(due: list[Due], subscription: Subscription) -> None:
    record([succeeded(due[0], subscription)])
    late = replace(
        succeeded(due[0], subscription),
        outcome=failed(ErrorClass.TIMEOUT, "too late", 15_000),
        step=Step("dead"),
    )
    record([late])
    assert Delivery.objects.get(pk=due[0].delivery_id).status == "succeeded"
    assert Attempt.objects.get().error == ""


def test_two_records_of_an_attempt_in_one_batch_are_one(due: list[Due], subscription: Subscription) -> None:
    assert record([succeeded(due[0], subscription)] * 2) == [True, False], "and are counted once"
    assert Attempt.objects.count() == 1
    assert Delivery.objects.get(pk=due[0].delivery_id).attempt_count == 1


def test_nothing_is_recorded_of_a_delivery_that_was_removed(due: list[Due], subscription: Subscription) -> None:
    Delivery.objects.filter(pk=due[0].delivery_id).delete()
    assert record([succeeded(due[0], subscription), succeeded(due[1], subscription)]) == [False, True]
    assert Attempt.objects.get().delivery_id == due[1].delivery_id


def test_an_attempt_in_progress_when_its_event_is_expunged_is_the_last_and_its_answer_is_not_stored(
    due: list[Due], subscription: Subscription
) -> None:
    verbs.expunge_event(Event.objects.get(pk="e0"))
    verbs.expunge_event(Event.objects.get(pk="e1"))
    echo = answered(500, {"x-echo": "ada@example.com"}, b"you sent ada@example.com", 1.0)
    bad = replace(
        succeeded(due[0], subscription), outcome=echo, step=Step("pending", 5.0), next_attempt_at=AT, finished_at=None
    )
    assert record([bad, succeeded(due[1], subscription)]) == [True, True]
    first, second = (Delivery.objects.get(pk=one.delivery_id) for one in due[:2])
    assert (first.status, first.attempt_count, first.last_error) == ("dead", 1, EXPUNGED)
    assert (first.next_attempt_at, first.finished_at is None) == (None, False)
    assert (second.status, second.last_error) == ("succeeded", "")
    assert list(Attempt.objects.values_list("response_headers", "response_excerpt")) == [("", "")] * 2
    assert not list(verify_hour(database_now() - timedelta(minutes=30)))


@pytest.mark.django_db(transaction=True)
def test_the_answer_of_an_attempt_that_is_recorded_while_its_event_is_expunged_is_not_stored(
    due: list[Due], subscription: Subscription
) -> None:
    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            record([succeeded(due[0], subscription)])
            expunging = thread.submit(expunge_elsewhere, "e0")
            until(somebody_waits, "it has come to the delivery's row")
        expunging.result(30)
    assert Attempt.objects.get().response_excerpt == ""


@pytest.mark.django_db(transaction=True)
def test_expunging_locks_deliveries_in_the_order_in_which_attempts_are_recorded(subscription: Subscription) -> None:
    other = create_subscription(subscription.partner, "https://hooks.reviews.com/other", ["orders.*"])
    event = new_event(id="e")
    for id_, to in (("dlv_2", subscription), ("dlv_1", other)):  # the index of the event's deliveries has this order
        new_delivery(to, event, id=id_)

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk="dlv_1")
            expunging = thread.submit(expunge_elsewhere, "e")
            until(somebody_waits, "it has come to the deliveries")
            Delivery.objects.select_for_update(nowait=True).get(pk="dlv_2")
        expunging.result(30)


def expunge_elsewhere(event_id: str) -> None:
    """For a thread of its own."""
    try:
        verbs.expunge_event(Event.objects.get(pk=event_id))
    finally:
        connection.close()


def gone(due: Due, subscription: Subscription) -> AttemptRecord:
    made = replace(succeeded(due, subscription), started_at=datetime.now(UTC), outcome=answered(410, {}, b"", 1))
    return replace(made, step=Step("dead", disable="gone"))


def test_gone_disables_the_subscription(due: list[Due], subscription: Subscription) -> None:
    disable_gone([succeeded(due[0], subscription)])
    subscription.refresh_from_db()
    assert subscription.is_enabled
    disable_gone([gone(due[0], subscription)])
    subscription.refresh_from_db()
    assert (subscription.is_enabled, subscription.disabled_reason) == (False, "gone")


def test_gone_from_a_former_url_disables_nothing(due: list[Due], subscription: Subscription) -> None:
    update_subscription(subscription, {"url": "https://hooks.reviews.com/moved"})
    before = replace(gone(due[0], subscription), url="https://hooks.reviews.com/in")
    disable_gone([before])
    subscription.refresh_from_db()
    assert subscription.is_enabled
    disable_gone([replace(before, url=subscription.url)])
    subscription.refresh_from_db()
    assert not subscription.is_enabled


def test_of_several_that_are_gone_one_that_has_changed_stays(due: list[Due], subscription: Subscription) -> None:
    other = create_subscription(subscription.partner, "https://hooks.reviews.com/in", ["*"])
    several = [gone(due[0], subscription), gone(due[0], other)]
    update_subscription(subscription, {"url": "https://hooks.reviews.com/moved"})
    disable_gone(several)
    assert list(Subscription.objects.filter(is_enabled=True)) == [subscription]


def test_gone_disables_no_subscription_that_was_enabled_since_the_request_left(
    due: list[Due], subscription: Subscription
) -> None:
    left = gone(due[0], subscription)
    disable_subscription(subscription, "staff")
    enable_subscription(subscription)
    disable_gone([left])
    subscription.refresh_from_db()
    assert subscription.is_enabled


@pytest.mark.django_db(transaction=True)
def test_a_subscription_that_somebody_is_changing_is_not_waited_for_by_records(
    due: list[Due], subscription: Subscription
) -> None:
    made = gone(due[0], subscription)
    with locked("SELECT FROM partners_subscription WHERE id = %s FOR UPDATE", [subscription.pk]):
        assert record([made]) == [True]
        with pytest.raises(OperationalError, match="lock timeout") as found:
            disable_gone([made], lock_wait_ms=1)
        assert is_passing(found.value), "and so it is tried again"
    disable_gone([made], lock_wait_ms=1)
    subscription.refresh_from_db()
    assert not subscription.is_enabled


def test_jobs_are_loaded_in_the_order_asked_for(due: list[Due], subscription: Subscription) -> None:
    load = JobLoader(EndpointCache())
    jobs = load([due[2].delivery_id, "dlv_none", due[0].delivery_id])
    assert [job.event_id if job else None for job in jobs] == ["e2", None, "e0"]
    job = jobs[0]
    assert job is not None
    assert (job.status, job.attempt_count, job.data) == ("pending", 0, '{"n": 1.0}')
    assert job.endpoint.url == subscription.url


def test_an_endpoint_is_kept_until_its_change_is_announced(due: list[Due], subscription: Subscription) -> None:
    cache = EndpointCache()
    assert len(cache.get([subscription.id])[subscription.id].secrets) == 1
    rotate_secret(subscription)
    disable_subscription(subscription, "staff")
    assert cache.get([subscription.id])[subscription.id].stopped == ""
    cache.forget([Change("subscription", subscription.id)])
    endpoint = cache.get([subscription.id])[subscription.id]
    assert len(endpoint.live_secrets(AT)) == 2
    assert "disabled (staff)" in endpoint.stopped
    assert "whsec" not in repr(endpoint)


def test_no_kept_endpoint_is_used_while_the_change_listener_is_not_connected(
    due: list[Due], subscription: Subscription
) -> None:
    hears = True
    cache = EndpointCache(lambda: hears)
    cache.get([subscription.id])
    disable_subscription(subscription, "staff")
    hears = False
    assert "disabled (staff)" in cache.get([subscription.id])[subscription.id].stopped


def test_an_unusable_part_stops_its_own_subscription_only(due: list[Due], subscription: Subscription) -> None:
    other = create_subscription(subscription.partner, "https://hooks.reviews.com/other", ["orders.*"])
    Subscription.objects.filter(pk=subscription.pk).update(transformation='{"map": {"$nonsense": 1}}')
    endpoints = EndpointCache().get([subscription.id, other.id])
    unusable = endpoints[subscription.id].transform
    assert unusable is not None
    with pytest.raises(TransformError, match="cannot be used"):
        unusable.apply(Envelope("e1", "orders.created", "2026-11-23T08:00:00Z", b"{}"))
    assert endpoints[other.id].transform is None


def test_a_secret_that_no_key_decrypts_prevents_signing_but_ends_no_delivery(subscription: Subscription) -> None:
    subscription.secrets.update(token="gAAAAA-not-ours")
    endpoint = EndpointCache().get([subscription.id])[subscription.id]
    assert endpoint.stopped == ""
    with pytest.raises(SecretError, match="a signing secret cannot be read: no key of ENCRYPTION_KEYS"):
        endpoint.live_secrets(AT)


def test_an_expired_secret_that_no_key_decrypts_prevents_nothing(subscription: Subscription) -> None:
    rotate_secret(subscription)
    subscription.secrets.filter(expires_at__isnull=False).update(token="gAAAAA-not-ours", expires_at=datetime.now(UTC))
    assert len(EndpointCache().get([subscription.id])[subscription.id].live_secrets(AT)) == 1
