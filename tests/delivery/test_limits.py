"""The broker's limits equal the partners' rows; breakers may hold back a queue if it has no other subscription."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from delivery import publish
from delivery.broker import FairQueues, QueueLimits, connect
from delivery.errors import Postponed
from delivery.limits import (
    Restraint,
    hold_back,
    limits_of,
    mend_limits,
    push_changes,
    push_limits,
    take_over,
    wrong_limits,
)
from partners.changes import Change
from partners.models import Partner, Subscription
from partners.services import (
    create_partner,
    create_subscription,
    disable_subscription,
    pause_partner,
    resume_partner,
)
from tests.delivery.broker.servers import forget

pytestmark = [pytest.mark.django_db, pytest.mark.servers]


@pytest.fixture
def queues(valkey: str) -> Iterator[FairQueues]:
    found = FairQueues(connect(valkey))
    yield found
    for partner in Partner.objects.all():
        forget(found, publish.queue_of(partner.id))


@pytest.fixture
def subscription() -> Subscription:
    partner = create_partner("Awesome Reviews", rate_limit="50/s", max_in_flight=7)
    return create_subscription(partner, "https://hooks.reviews.com/in", ["orders.*"])


def down(subscription: Subscription, until: float) -> Postponed:
    return Postponed(until, subscription.id, subscription.partner_id)


def paused_until(queues: FairQueues, partner_id: str) -> float | None:
    return queues.limits(publish.queue_of(partner_id)).paused_until


def test_limits_are_written_from_the_rows(queues: FairQueues, subscription: Subscription) -> None:
    assert push_limits([subscription.partner_id], queues) == 1
    written = queues.limits(publish.queue_of(subscription.partner_id))
    assert (written.max_in_flight, written.paused_until) == (7, None)
    pause_partner(subscription.partner)
    assert limits_of(subscription.partner).paused_until == float("inf")


def test_without_a_limit_of_its_own_a_partner_has_the_ceiling(queues: FairQueues) -> None:
    assert limits_of(create_partner("Loyal Llama", rate_limit_ceiling="10/s")).rate == "10/s"


def test_the_queue_of_an_only_enabled_subscription_is_held_back(queues: FairQueues, subscription: Subscription) -> None:
    push_limits([subscription.partner_id], queues)
    until = time.time() + 60
    disabled = create_subscription(subscription.partner, "https://hooks.reviews.com/two", ["*"])
    disable_subscription(disabled, "gone")
    assert hold_back([down(subscription, until + 9), down(subscription, until)], queues) == {subscription.partner_id}
    assert paused_until(queues, subscription.partner_id) == pytest.approx(until, abs=4)
    assert queues.limits(publish.queue_of(subscription.partner_id)).max_in_flight == 7


def test_a_queue_that_others_share_is_not_held_back(queues: FairQueues, subscription: Subscription) -> None:
    create_subscription(subscription.partner, "https://hooks.reviews.com/two", ["*"])
    assert not hold_back([down(subscription, time.time() + 60)], queues)
    assert paused_until(queues, subscription.partner_id) is None


def test_a_queue_is_held_back_when_all_who_share_it_are_down(queues: FairQueues, subscription: Subscription) -> None:
    other = create_subscription(subscription.partner, "https://hooks.reviews.com/two", ["*"])
    until = time.time() + 60
    assert hold_back([down(subscription, until + 9), down(other, until)], queues) == {subscription.partner_id}
    assert paused_until(queues, subscription.partner_id) == pytest.approx(until, abs=4)


def test_a_partner_is_held_back_as_a_whole_for_a_minute_at_most(queues: FairQueues, subscription: Subscription) -> None:
    create_subscription(subscription.partner, "https://hooks.reviews.com/two", ["*"])
    push_limits([subscription.partner_id], queues)
    postponed = Postponed(time.time() + 600, subscription.id, subscription.partner_id, of_partner=True)
    assert hold_back([postponed], queues) == {subscription.partner_id}
    assert paused_until(queues, subscription.partner_id) == pytest.approx(time.time() + 60, abs=10)
    assert not wrong_limits(queues)


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_a_host_whose_clock_is_wrong_holds_a_queue_back_for_as_long(
    queues: FairQueues, subscription: Subscription, ahead_s: float
) -> None:
    hold_back([down(subscription, time.time() + ahead_s + 30)], queues, lambda: time.time() + ahead_s)
    assert paused_until(queues, subscription.partner_id) == pytest.approx(time.time() + 30, abs=20)


def test_for_the_same_subscription_hold_back_is_called_once_a_second() -> None:
    asked: list[list[str]] = []
    restrain = Restraint(lambda postponed: asked.append([one.subscription_id for one in postponed]))
    restrain([Postponed(9, "sub_1", "ptr_1"), Postponed(9, "sub_1", "ptr_1")])
    restrain([Postponed(9, "sub_1", "ptr_1"), Postponed(9, "sub_2", "ptr_2")])
    restrain([Postponed(9, "sub_2", "ptr_2")])
    assert asked == [["sub_1"], ["sub_2"]]


def test_a_second_subscription_that_is_down_is_passed_with_the_first() -> None:
    asked: list[list[str]] = []
    restrain = Restraint(lambda postponed: asked.append([one.subscription_id for one in postponed]))
    for _ in range(3):
        restrain([Postponed(9, "sub_1", "ptr_1")])
        restrain([Postponed(9, "sub_2", "ptr_1")])
    assert asked == [["sub_1"], ["sub_1", "sub_2"]]


def test_of_many_subscriptions_that_are_down_each_new_one_does_not_ask_at_once() -> None:
    asked: list[int] = []
    restrain = Restraint(lambda postponed: asked.append(len(postponed)))
    for number in range(50):
        restrain([Postponed(9, f"sub_{number}", "ptr_1")])
    assert asked == [*range(1, 11)]


def test_a_pause_by_staff_is_not_ended_sooner(queues: FairQueues, subscription: Subscription) -> None:
    pause_partner(subscription.partner)
    hold_back([down(subscription, time.time() + 5)], queues)
    assert paused_until(queues, subscription.partner_id) == float("inf")


def test_a_subscription_that_is_made_meanwhile_ends_the_holding_back(
    queues: FairQueues, subscription: Subscription
) -> None:
    push_limits([subscription.partner_id], queues)
    hold_back([down(subscription, time.time() + 60)], queues)
    made = create_subscription(subscription.partner, "https://hooks.reviews.com/two", ["*"])
    push_changes([Change("subscription", made.id)], queues)
    limits = queues.limits(publish.queue_of(subscription.partner_id))
    assert (limits.paused_until, limits.max_in_flight) == (None, 7)


def test_a_pause_by_staff_that_ends_meanwhile_is_ended(
    queues: FairQueues, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause_partner(subscription.partner)
    pauses = queues.pause_all

    def staff_is_quicker(untils: Mapping[str, float]) -> None:
        resume_partner(subscription.partner)
        pauses(untils)

    monkeypatch.setattr(queues, "pause_all", staff_is_quicker)
    assert not hold_back([down(subscription, time.time() + 60)], queues)
    assert paused_until(queues, subscription.partner_id) is None


def test_a_changed_subscription_ends_no_pause_by_staff(queues: FairQueues, subscription: Subscription) -> None:
    pause_partner(subscription.partner)
    push_changes([Change("subscription", subscription.id)], queues)
    assert paused_until(queues, subscription.partner_id) == float("inf")


def test_limits_that_were_not_written_are_found_and_mended(queues: FairQueues, subscription: Subscription) -> None:
    slower, resumed, new = subscription.partner, create_partner("Loyal Llama"), create_partner("Cart Cats")
    pause_partner(resumed)
    push_limits([slower.pk, resumed.pk], queues)
    Partner.objects.filter(pk=slower.pk).update(rate_limit="1000/h")
    resume_partner(resumed)

    assert set(wrong_limits(queues)) == {slower.pk, resumed.pk, new.pk}
    mend_limits(queues)

    assert wrong_limits(queues) == []
    assert queues.limits(publish.queue_of(slower.pk)).rate == pytest.approx(1000 / 3600)
    assert paused_until(queues, resumed.pk) is None


def test_a_pause_by_staff_that_is_missing_or_shorter_is_wrong(queues: FairQueues, subscription: Subscription) -> None:
    push_limits([subscription.partner_id], queues)
    pause_partner(subscription.partner)
    assert wrong_limits(queues) == [subscription.partner_id]
    queues.pause(publish.queue_of(subscription.partner_id), time.time() + 30)
    assert wrong_limits(queues) == [subscription.partner_id]


def test_a_queue_that_breakers_hold_back_has_no_wrong_limits(queues: FairQueues, subscription: Subscription) -> None:
    pause_partner(subscription.partner, timezone.now() - timedelta(hours=1))
    push_limits([subscription.partner_id], queues)
    hold_back([down(subscription, time.time() + 60)], queues)
    assert wrong_limits(queues) == []
    queues.pause(publish.queue_of(subscription.partner_id), time.time() - 60)
    assert wrong_limits(queues) == [], "a pause that is over is none"


def test_an_invalid_rate_is_logged_and_the_limits_of_other_partners_are_written(
    queues: FairQueues, subscription: Subscription
) -> None:
    bad = create_partner("Loyal Llama", rate_limit="5/s")
    push_limits([bad.pk], queues)
    Partner.objects.filter(pk=bad.pk).update(rate_limit="fast")
    mend_limits(queues)
    assert wrong_limits(queues) == [bad.pk]
    assert queues.limits(publish.queue_of(bad.pk)).rate == 5


def test_a_pause_that_ends_while_limits_are_mended_is_ended(
    queues: FairQueues, subscription: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause_partner(subscription.partner)
    configure = queues.configure_many

    def staff_is_quicker(limits: Iterable[QueueLimits]) -> None:
        if Partner.objects.get(pk=subscription.partner_id).paused_until:
            resume_partner(subscription.partner)
            push_limits([subscription.partner_id], queues)
        configure(limits)

    monkeypatch.setattr(queues, "configure_many", staff_is_quicker)
    mend_limits(queues)
    assert paused_until(queues, subscription.partner_id) is None


@pytest.mark.django_db(transaction=True)  # as in the listener's thread, which has no open transaction
def test_limits_that_wait_for_valkey_are_logged_once(
    subscription: Subscription, caplog: pytest.LogCaptureFixture
) -> None:
    class Broker:
        is_away = False

        def configure_many(self, _: object) -> None:
            if self.is_away:
                raise redis.ConnectionError("refused")

    partner, event_type = Change("partner", subscription.partner_id), Change("event_type", "orders.created")
    broker: Any = Broker()
    take_over([partner], broker)  # ends trouble that other tests left
    caplog.set_level("INFO")
    caplog.clear()

    broker.is_away = True
    for change in (partner, event_type, partner):
        take_over([change], broker)
    broker.is_away = False
    take_over([partner], broker)

    assert [record.message for record in caplog.records] == ["limits wait for Valkey", "going on"]
