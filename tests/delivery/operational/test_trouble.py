"""When there are operational events: each kind has a threshold and a quiet time."""

import time
from collections.abc import Iterable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delivery.breaker import Opened
from delivery.breaker_store import SharedBreakers
from delivery.broker import FairQueues
from delivery.broker.queues import QueueStats
from delivery.models import OperationalEvent
from delivery.operational.notify import Notice, notify
from delivery.operational.trouble import (
    dead_deliveries,
    disabled_subscriptions,
    limited_partners,
    opened_breakers,
)
from partners.models import Partner, Subscription
from partners.services import (
    create_partner,
    create_subscription,
    disable_subscription,
    enable_subscription,
    pause_partner,
)
from tests.delivery.operational.conftest import NOW, History
from tests.rows import new_delivery

pytestmark = [pytest.mark.django_db, pytest.mark.servers]

URL = "https://hooks.reviews.com/in"
QUIET = timedelta(hours=1)
FIVE_DAYS = timedelta(days=5)
LATER = NOW + timedelta(minutes=61)


class Queues(FairQueues):
    """A broker in which every queue has `ready` messages."""

    def __init__(self, ready: int) -> None:
        self.ready = ready

    def stats(self, queues: Iterable[str] | None = None) -> dict[str, QueueStats]:
        return {queue: QueueStats(self.ready, 0, 0) for queue in queues or ()}


def disable(subscription: Subscription, reason: str, hours_ago: float = 0.1) -> None:
    disable_subscription(subscription, reason)
    at = NOW - timedelta(hours=hours_ago)
    Subscription.objects.filter(pk=subscription.pk).update(disabled_at=at)


@pytest.mark.parametrize(("reason", "told"), [("gone", 1), ("failing", 1), ("staff", 1), ("partner", 0)])
def test_a_disabled_subscription_is_told_of_once(subscription: Subscription, reason: str, told: int) -> None:
    disable(subscription, reason)
    assert len(notify(disabled_subscriptions(NOW, FIVE_DAYS), NOW)) == told
    assert notify(disabled_subscriptions(NOW, FIVE_DAYS), NOW) == []


def test_one_that_was_disabled_long_ago_is_not_told_of(subscription: Subscription) -> None:
    disable(subscription, "gone", hours_ago=25)
    assert list(disabled_subscriptions(NOW, FIVE_DAYS)) == []


def test_one_that_is_disabled_again_after_each_trial_is_told_of_once_in_five_days(subscription: Subscription) -> None:
    disable(subscription, "failing")
    notify(disabled_subscriptions(NOW, FIVE_DAYS), NOW)
    enable_subscription(subscription)
    disable(subscription, "failing", hours_ago=0)
    assert list(disabled_subscriptions(NOW + timedelta(minutes=1), FIVE_DAYS)) == []
    assert len(list(disabled_subscriptions(NOW + timedelta(minutes=1), timedelta(seconds=1)))) == 1


@pytest.fixture
def shared(wiped_queues: FairQueues) -> SharedBreakers:
    return SharedBreakers(wiped_queues.client)


def opens(shared: SharedBreakers, *subscription_ids: str) -> None:
    for subscription_id in subscription_ids:
        shared.open(subscription_id, Opened(time.time() + 60, 5.0))


def test_an_opened_breaker_is_told_of_once_an_hour(subscription: Subscription, shared: SharedBreakers) -> None:
    opens(shared, *[subscription.pk] * 3, "sub_unknown")
    shared.open(subscription.pk, Opened(time.time() + 60, 10.0))  # after a probe that failed
    (event,) = notify(opened_breakers(NOW, QUIET, shared), NOW)
    assert (event.kind, event.partner_id, event.subscription_id) == (
        "breaker.opened",
        subscription.partner_id,
        subscription.pk,
    )
    assert '"opened":3' in event.data
    assert list(opened_breakers(LATER, QUIET, shared)) == []
    shared.close(subscription.pk)
    opens(shared, subscription.pk)
    assert list(opened_breakers(NOW + timedelta(minutes=59), QUIET, shared)) == []
    assert len(list(opened_breakers(LATER, QUIET, shared))) == 1


def test_a_breaker_that_is_closed_when_the_quiet_time_is_over_is_not_told_of(
    subscription: Subscription, shared: SharedBreakers
) -> None:
    opens(shared, subscription.pk)
    notify(opened_breakers(NOW, QUIET, shared), NOW)
    opens(shared, subscription.pk)
    shared.close(subscription.pk)
    assert list(opened_breakers(NOW + timedelta(minutes=59), QUIET, shared)) == []
    assert list(opened_breakers(LATER, QUIET, shared)) == []


def test_an_opened_breaker_is_told_of_after_a_run_that_did_not_get_to_it(
    subscription: Subscription, shared: SharedBreakers
) -> None:
    opens(shared, subscription.pk)
    next(opened_breakers(NOW, QUIET, shared))  # and the worker is killed
    assert len(list(opened_breakers(NOW, QUIET, shared))) == 1


def test_subscriptions_that_were_told_of_cost_no_statements_of_their_own(
    subscription: Subscription, shared: SharedBreakers, history: History
) -> None:
    def statements(count: int) -> int:
        for _ in range(count):
            gone, failing, down = [create_subscription(subscription.partner, URL, ["*"]) for _ in range(3)]
            disable(gone, "gone")
            disable(failing, "failing")
            opens(shared, down.pk)
            history(dead=(0.1,), of=down)

        def trouble() -> Iterable[Notice]:
            yield from disabled_subscriptions(NOW, FIVE_DAYS)
            yield from dead_deliveries(NOW, QUIET)
            yield from opened_breakers(NOW, QUIET, shared)

        assert len(notify(trouble(), NOW)) == 4 * count
        with CaptureQueriesContext(connection) as queries:
            assert notify(trouble(), NOW) == []
        return len(queries)

    assert statements(1) == statements(3)


def test_dead_deliveries_are_told_of_together(subscription: Subscription, history: History) -> None:
    delivery = new_delivery(subscription, status="dead", at=NOW - timedelta(minutes=6))
    history(dead=(0.1, 0.1, 0.2))
    (notice,) = dead_deliveries(NOW, QUIET)
    assert notice.data["count"] == 3
    assert notice.data["deliveries"] == [delivery.pk]
    title = notify([notice], NOW)[0].title
    assert title == f"deliveries to https://hooks.reviews.com ({subscription.pk}) ended without success: 3"
    history(dead=(-0.5, -0.9, -1.0))
    assert list(dead_deliveries(NOW + timedelta(minutes=59), QUIET)) == []
    (again,) = dead_deliveries(LATER, QUIET)
    assert (again.data["count"], again.data["since"]) == (3, NOW)


def test_dead_deliveries_of_the_quiet_time_are_told_of_when_it_is_over(
    subscription: Subscription, history: History
) -> None:
    history(dead=(0.1,))
    notify(dead_deliveries(NOW, QUIET), NOW)
    history(dead=(0, -0.1, -0.2))
    assert list(dead_deliveries(NOW + timedelta(minutes=59), QUIET)) == []
    (notice,) = dead_deliveries(LATER, QUIET)
    assert (notice.data["count"], notice.data["since"]) == (3, NOW)
    notify([notice], LATER)
    assert list(dead_deliveries(LATER + QUIET, QUIET)) == []


def test_a_subscription_that_was_deleted_in_sql_does_not_stop_the_notices_of_others(
    subscription: Subscription, history: History
) -> None:
    gone = create_subscription(subscription.partner, "https://hooks.reviews.com/gone", ["*"])
    history(dead=(0.1,), of=gone)
    history(dead=(0.1,))
    with connection.cursor() as cursor:
        for table, column in (("subscriptionsecret", "subscription_id"), ("subscription", "id")):
            cursor.execute(f"DELETE FROM partners_{table} WHERE {column} = %s", [gone.pk])
    assert [one.subscription_id for one in dead_deliveries(NOW, QUIET)] == [subscription.pk]


def test_the_minute_that_is_not_over_waits_for_the_next_look(subscription: Subscription, history: History) -> None:
    history(dead=(0,))
    assert list(dead_deliveries(NOW + timedelta(seconds=30), QUIET)) == []
    assert len(list(dead_deliveries(NOW + timedelta(seconds=60), QUIET))) == 1


@pytest.mark.parametrize(("limit", "ready", "told"), [("50/s", 30_000, 0), ("50/s", 30_100, 1), ("", 30_100, 0)])
def test_a_queue_is_told_of_when_it_needs_more_than_ten_minutes(
    subscription: Subscription, limit: str, ready: int, told: int
) -> None:
    partner = subscription.partner
    partner.rate_limit = limit
    partner.save()
    bound = timedelta(minutes=10)
    notices = list(limited_partners(NOW, QUIET, bound, Queues(ready)))
    assert len(notices) == told
    notify(notices, NOW)
    assert list(limited_partners(NOW + timedelta(minutes=59), QUIET, bound, Queues(ready))) == []


def test_a_paused_partner_knows_why_its_queue_grows(subscription: Subscription) -> None:
    subscription.partner.rate_limit = "1/s"
    pause_partner(subscription.partner)
    assert list(limited_partners(NOW, QUIET, timedelta(minutes=10), Queues(100_000))) == []


@pytest.mark.parametrize("written", ["5/x", "0/s"])
def test_a_limit_that_was_written_in_sql_and_is_none_does_not_stop_the_notices_of_others(
    subscription: Subscription, written: str
) -> None:
    subscription.partner.rate_limit = "1/s"
    subscription.partner.save()
    create_partner("Broken")
    Partner.objects.filter(name="Broken").update(rate_limit=written)
    found = limited_partners(NOW, QUIET, timedelta(minutes=10), Queues(100_000))
    assert [one.partner_id for one in found] == [subscription.partner_id]


def test_the_same_key_is_stored_once(subscription: Subscription) -> None:
    data = {"subscription_id": subscription.pk, "url": "u", "opened": 1}
    notice = Notice("breaker.opened", "k", subscription.partner_id, data)
    assert len(notify([notice, notice], NOW)) == 1
    assert OperationalEvent.objects.count() == 1
