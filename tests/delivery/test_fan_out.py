"""Deliveries to a partner with many subscriptions are made in steps, each once, and none is lost."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from delivery import fan_out, publish
from delivery.broker import FairQueues
from delivery.due import FanOutDue
from delivery.fan_out import MOST_DELIVERIES, Maker
from delivery.ingest import Accepted, Ingested, ingest
from delivery.mending import mend
from delivery.messages import NewEvent
from delivery.models import Delivery, Event, FanOut
from delivery.reconcile import reconcile
from delivery.routes import SubscriptionRouter
from delivery.selection import MOST_AT_ONCE
from delivery.verbs import expunge_event
from partners import services
from partners.models import Partner, Subscription
from tests.delivery.test_selection import ENDLESS, ITEMS
from tests.locks import locked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers, pytest.mark.usefixtures("queues")]

MANY = MOST_AT_ONCE + 5


@pytest.fixture
def partner() -> Partner:
    return services.create_partner("Many Shops")


def subscribe(partner: Partner, count: int = MANY, **fields: Any) -> list[Subscription]:
    url, types = "https://hooks.example.com/in", ["orders.*"]
    return [services.create_subscription(partner, url, types, **fields) for _ in range(count)]


def take_in(*event_ids: str, data: bytes = b"{}") -> Ingested:
    router = SubscriptionRouter()
    router.load()
    at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return ingest([Accepted(NewEvent(one, "orders.created", "", at, data)) for one in event_ids], router)


def here(work: Callable[..., Any], *arguments: object) -> Any:
    return work(*arguments)


def step(*fan_out_ids: str) -> dict[str, bool]:
    return Maker(longest_s=60).make_some(fan_out_ids, here)


def run(fan_out_id: str) -> int:
    """Takes all steps; returns how many there were."""
    steps = 1
    while step(fan_out_id)[fan_out_id]:
        steps += 1
    return steps


def subscribers(event_id: str) -> list[str]:
    return list(
        Delivery.objects.filter(event=event_id).order_by("subscription_id").values_list("subscription_id", flat=True)
    )


def ids(subscriptions: Sequence[Subscription]) -> list[str]:
    return [one.pk for one in subscriptions]


def test_a_partner_with_many_subscriptions_gets_its_deliveries_later(partner: Partner, queues: FairQueues) -> None:
    many = subscribe(partner)
    (few,) = subscribe(services.create_partner("Few"), 1)
    done = take_in("e1")

    assert subscribers("e1") == [few.pk]
    found = FanOut.objects.get()
    assert list(done.queued) == [*done.due, FanOutDue(found.pk, partner.pk, "orders.created")]

    assert run(found.pk) == 1
    assert subscribers("e1") == sorted(ids([*many, few]))
    assert not FanOut.objects.exists()
    queued = queues.missing(publish.queue_of(partner.pk), [one.next_due.message_id for one in Delivery.objects.all()])
    assert queued == [Delivery.objects.get(subscription=few).next_due.message_id]


def test_it_is_done_in_steps(partner: Partner) -> None:
    many = subscribe(partner, 2 * MOST_DELIVERIES + 1)
    take_in("e1")
    found = FanOut.objects.get()

    assert step(found.pk) == {found.pk: True}
    assert subscribers("e1") == ids(many)[:MOST_DELIVERIES]
    found.refresh_from_db()
    assert found.after == many[MOST_DELIVERIES - 1].pk
    assert run(found.pk) == 2
    assert subscribers("e1") == ids(many)


def test_a_step_that_comes_twice_makes_nothing_twice(partner: Partner) -> None:
    many = subscribe(partner)
    take_in("e1")
    found = FanOut.objects.get()
    pk = found.pk
    run(pk)
    found.save(force_insert=True)  # as if the last step had not been committed
    run(pk)
    assert step(pk) == {pk: False}
    assert subscribers("e1") == ids(many)


def test_an_event_that_comes_again_is_queued_again_and_stored_once(partner: Partner) -> None:
    subscribe(partner)
    first = take_in("e1", "e2")
    run(FanOut.objects.get(event="e2").pk)
    again = take_in("e1", "e2")
    assert FanOut.objects.count() == 1
    assert set(again.queued) == {first.queued[0], *(one.next_due for one in Delivery.objects.filter(event="e2"))}


def test_slow_filters_are_evaluated_later_and_one_that_fails_leaves_a_dead_delivery(
    partner: Partner, queues: FairQueues
) -> None:
    (endless,) = subscribe(partner, 1, filter=ENDLESS)
    (wanted,) = subscribe(partner, 1, filter="$.data.items")
    subscribe(partner, 1, filter="$.data.nothing")
    take_in("e1", data=ITEMS)
    assert subscribers("e1") == []

    run(FanOut.objects.get().pk)
    assert subscribers("e1") == [endless.pk, wanted.pk]
    dead = Delivery.objects.get(subscription=endless)
    assert dead.status == "dead"
    assert dead.last_error.startswith("filter: too_much_work")
    assert Delivery.objects.get(subscription=wanted).status == "pending"
    assert queues.size(publish.queue_of(partner.pk)) == 1, "a dead one is not queued"


def test_the_subscriptions_that_are_enabled_by_then_get_it(partner: Partner) -> None:
    many = subscribe(partner)
    take_in("e1")
    (new,) = subscribe(partner, 1)
    services.disable_subscription(many[0], Subscription.DisabledReason.PARTNER)
    services.delete_subscription(many[1])
    services.update_subscription(many[2], {"event_types": ["carts.*"]})
    run(FanOut.objects.get().pk)
    assert subscribers("e1") == ids([*many[3:], new])


def test_a_subscription_that_is_made_before_an_event_gets_it(partner: Partner) -> None:
    """Although the worker has just read the partner's subscriptions for another event."""
    many, maker = subscribe(partner), Maker(longest_s=60)
    for number in range(3):
        many += subscribe(partner, 1)
        take_in(f"e{number}")
        assert list(maker.make_some([FanOut.objects.get().pk], here).values()) == [False]
        assert subscribers(f"e{number}") == ids(many)


def test_a_changed_filter_counts_for_the_next_event(partner: Partner) -> None:
    many, (changed,) = subscribe(partner), subscribe(partner, 1, filter="$.data.nothing")
    maker = Maker(longest_s=60)
    take_in("e1")
    maker.make_some([FanOut.objects.get().pk], here)
    services.update_subscription(changed, {"filter": "$.type"})
    take_in("e2")
    maker.make_some([FanOut.objects.get().pk], here)
    assert (subscribers("e1"), subscribers("e2")) == (ids(many), ids([*many, changed]))


def test_subscriptions_that_were_read_are_not_used_for_long(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "PAGE_KEPT_S", 0.0)
    (disabled, *others), maker = subscribe(partner), Maker(longest_s=60)
    take_in("e1", "e2")
    for one in FanOut.objects.order_by("pk"):
        maker.make_some([one.pk], here)
        services.disable_subscription(disabled, Subscription.DisabledReason.PARTNER)
    assert (subscribers("e1"), subscribers("e2")) == (ids([disabled, *others]), ids(others))


def test_subscriptions_are_read_once_for_events_that_wait(partner: Partner) -> None:
    subscribe(partner)
    take_in(*(f"e{n}" for n in range(5)))
    with CaptureQueriesContext(connection) as queries:
        step(*FanOut.objects.values_list("pk", flat=True))
    assert len([one for one in queries if 'FROM "partners_subscription"' in one["sql"]]) == 1


def test_an_expunged_event_makes_no_deliveries(partner: Partner) -> None:
    subscribe(partner)
    take_in("e1")
    (found,) = FanOut.objects.all()
    expunge_event(Event.objects.get())
    assert not FanOut.objects.exists()
    found.save(force_insert=True)  # it was being made meanwhile
    run(found.pk)
    assert not Delivery.objects.exists()
    assert not FanOut.objects.exists()


def past(seconds: float) -> None:
    """Puts all rows back in time."""
    FanOut.objects.update(created_at=timezone.now() - timedelta(seconds=seconds))


def test_a_lost_fan_out_is_queued_again(partner: Partner, queues: FairQueues) -> None:
    subscribe(partner)
    take_in("e1", "e2")
    assert reconcile(queues).queued == 0, "it may still be on its way"
    past(60)
    assert reconcile(queues).queued == 2
    assert reconcile(queues).queued == 0
    assert queues.size(publish.queue_of(partner.pk)) == 2


def test_a_wiped_broker_gets_fan_outs_back(partner: Partner, queues: FairQueues) -> None:
    subscribe(partner)
    take_in(*(f"e{n}" for n in range(5)))
    past(60)
    queues.client.flushdb()
    while queues.was_wiped():
        mend(queues, 0, lambda: True, size=2)
    assert queues.size(publish.queue_of(partner.pk)) == 5


def test_many_are_looked_at_in_steps(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "PAGE", 5)
    many = subscribe(partner)
    take_in("e1")
    assert run(FanOut.objects.get().pk) == MANY // 5
    assert subscribers("e1") == ids(many)


def test_a_step_makes_the_deliveries_of_several_events(partner: Partner) -> None:
    many = subscribe(partner)
    take_in(*(f"e{n}" for n in range(20)))
    all_ids = list(FanOut.objects.order_by("pk").values_list("pk", flat=True))
    done = step(*all_ids)
    most = -(-MOST_DELIVERIES // MANY)
    assert done == {**dict.fromkeys(all_ids[: most - 1], False), all_ids[most - 1]: True}
    assert Delivery.objects.count() == MOST_DELIVERIES
    while FanOut.objects.exists():
        step(*all_ids)
    assert [subscribers(f"e{n}") for n in range(20)] == [ids(many)] * 20


def test_a_step_whose_time_is_over_leaves_the_rest(partner: Partner) -> None:
    many = [one for number in range(MANY) for one in subscribe(partner, 1, filter=f"$.data.items[{number}]")]
    take_in("e1", "e2", data=ITEMS)
    first, second = FanOut.objects.order_by("pk")
    maker = Maker(longest_s=0)
    assert maker.make_some([first.pk, second.pk], here) == {first.pk: True}
    assert subscribers("e1") == ids(many[:1])
    while maker.make_some([first.pk], here)[first.pk]:
        pass
    assert subscribers("e1") == ids(many)


def test_two_workers_with_the_same_message_make_nothing_twice(partner: Partner) -> None:
    many = subscribe(partner, 3 * MOST_DELIVERIES)
    take_in("e1")
    pk = FanOut.objects.get().pk

    maker = Maker(longest_s=60)

    def meanwhile(work: Callable[..., Any], *arguments: object) -> Any:
        """Another worker takes a step between loading and storing."""
        found = work(*arguments)
        if work == maker.load:
            step(pk)
        return found

    assert maker.make_some([pk], meanwhile) == {pk: True}
    assert subscribers("e1") == ids(many[:MOST_DELIVERIES])
    run(pk)
    assert subscribers("e1") == ids(many)


def test_one_that_another_transaction_holds_waits_and_the_others_do_not(partner: Partner) -> None:
    many = subscribe(partner, 20)
    take_in("e1", "e2")
    held, free = FanOut.objects.order_by("pk")
    with locked("SELECT FROM delivery_fanout WHERE id = %s FOR UPDATE", [held.pk]):
        assert step(held.pk, free.pk) == {held.pk: True, free.pk: False}
    assert subscribers("e1") == []
    assert subscribers("e2") == ids(many)
    run(held.pk)
    assert subscribers("e1") == ids(many)


@pytest.mark.timeout(30)
def test_a_step_does_not_wait_for_a_lock_for_long(partner: Partner) -> None:
    many = subscribe(partner)
    take_in("e1")
    pk = FanOut.objects.get().pk
    with locked("LOCK delivery_delivery IN SHARE MODE"), pytest.raises(OperationalError, match="lock timeout"):
        step(pk)
    run(pk)
    assert subscribers("e1") == ids(many)


def test_a_fan_out_without_its_event_ends(partner: Partner) -> None:
    subscribe(partner)
    take_in("e1")
    Event.objects.all()._raw_delete("default")
    run(FanOut.objects.get().pk)
    assert not FanOut.objects.exists()


def test_a_filter_that_does_not_compile_any_more_stops_no_others(partner: Partner) -> None:
    many = subscribe(partner)
    take_in("e1")
    Subscription.objects.filter(pk__in=[many[0].pk, many[-1].pk]).update(filter="$[")
    run(FanOut.objects.get().pk)
    assert subscribers("e1") == ids(many[1:-1])
