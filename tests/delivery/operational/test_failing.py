"""Five days of failures only disable a subscription, with notices before that; one success resets it."""

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from delivery.models import OperationalEvent
from delivery.operational.failing import TRIAL, Watched, mark, watch_failing
from partners.models import Subscription
from partners.services import create_subscription, disable_subscription, enable_subscription
from tests.delivery.operational.conftest import NOW, History

pytestmark = [pytest.mark.django_db, pytest.mark.servers]

LIMIT = timedelta(days=5)


def failing_since(subscription: Subscription) -> datetime | None:
    subscription.refresh_from_db()
    return subscription.failing_since


def fails_since(subscription: Subscription, hours: float) -> None:
    Subscription.objects.filter(pk=subscription.pk).update(failing_since=NOW - timedelta(hours=hours))


def stages() -> list[float]:
    return [
        float(key.rpartition(":")[2]) for key in OperationalEvent.objects.order_by("id").values_list("key", flat=True)
    ]


def test_failures_are_marked_with_the_first_one(subscription: Subscription, history: History) -> None:
    history(failed=(0.25, 0.2, 0.01))
    assert mark(NOW) == 1
    assert failing_since(subscription) == NOW - timedelta(minutes=15)
    assert mark(NOW) == 0


def test_a_minute_of_failures_is_not_marked_yet(subscription: Subscription, history: History) -> None:
    history(failed=(0.05, 0.01))
    assert mark(NOW) == 0
    assert failing_since(subscription) is None


def test_failures_beside_successes_are_not_marked(subscription: Subscription, history: History) -> None:
    history(failed=(0.25, 0.2, 0.1, 0.05), succeeded=(0.25, 0.2, 0.05))
    assert mark(NOW) == 0


def test_what_was_never_sent_is_no_failure_of_the_endpoint(subscription: Subscription, history: History) -> None:
    history(failed=(0.25, 0.2), latency_ms=0.0)
    assert mark(NOW) == 0


def test_a_success_ends_it_and_failures_after_it_begin_anew(subscription: Subscription, history: History) -> None:
    fails_since(subscription, 90)
    history(failed=(90, 0.3, 0.15), succeeded=(0.2,))
    assert mark(NOW) == 1
    assert failing_since(subscription) == NOW - timedelta(minutes=9)
    history(succeeded=(0.02,))
    assert mark(NOW) == 1
    assert failing_since(subscription) is None


def test_a_failure_later_keeps_the_first_one(subscription: Subscription, history: History) -> None:
    fails_since(subscription, 90)
    history(failed=(90, 0.2))
    assert mark(NOW) == 0


@pytest.mark.parametrize(
    ("hours", "stage"), [(59, []), (60, [0.5]), (83, [0.5]), (84, [0.7]), (107, [0.7]), (108, [0.9]), (119, [0.9])]
)
def test_the_partner_is_told_at_half_at_seven_and_at_nine_tenths(
    subscription: Subscription, history: History, hours: float, stage: list[float]
) -> None:
    fails_since(subscription, hours)
    history(failed=(hours, 30, 0))
    assert watch_failing(NOW, LIMIT) == Watched(changed=0, told=len(stage), disabled=0, tried=0)
    assert watch_failing(NOW, LIMIT).told == 0
    assert stages() == stage


def test_each_stage_is_told_once(subscription: Subscription, history: History) -> None:
    fails_since(subscription, 60)
    history(failed=tuple(60 - hour for hour in range(120)))
    for hours in range(59):
        watch_failing(NOW + timedelta(hours=hours), LIMIT)
    assert stages() == [0.5, 0.7, 0.9]
    event = OperationalEvent.objects.first()
    assert event is not None
    assert event.title.startswith(f"https://hooks.reviews.com ({subscription.pk}) has failed since 2026-11-21T00:00:00")


def test_five_days_of_nothing_but_failures_disable(subscription: Subscription, history: History) -> None:
    fails_since(subscription, 120)
    history(failed=(120, 60, 0))
    assert watch_failing(NOW, LIMIT).disabled == 1
    subscription.refresh_from_db()
    assert (subscription.is_enabled, subscription.disabled_reason) == (False, "failing")
    assert watch_failing(NOW, LIMIT).disabled == 0


def test_the_roll_ups_of_a_partner_are_read_once_however_many_of_its_subscriptions_fail(
    subscription: Subscription, history: History
) -> None:
    another = create_subscription(subscription.partner, "https://hooks.example.com/", ["*"])
    for one, hours in ((subscription, 70), (another, 90)):
        fails_since(one, hours)
        history(failed=(hours, 0.1), of=one)
    with CaptureQueriesContext(connection) as queries:
        assert watch_failing(NOW, LIMIT).told == 2
    assert sum("sum(failures)" in query["sql"] for query in queries) == 1
    assert stages() == [0.5, 0.7]
    with CaptureQueriesContext(connection) as queries:
        assert watch_failing(NOW, LIMIT).told == 0
    assert sum("delivery_operationalevent" in query["sql"] for query in queries) == 1


def test_one_success_in_between_resets_it_even_when_nobody_marked_it(
    subscription: Subscription, history: History
) -> None:
    fails_since(subscription, 120)
    history(failed=(120, 60, 0), succeeded=(61,))
    assert watch_failing(NOW, LIMIT) == Watched(0, 0, 0, 0)
    assert failing_since(subscription) is None


def test_a_failure_long_ago_and_silence_since_do_not_disable(subscription: Subscription, history: History) -> None:
    fails_since(subscription, 130)
    history(failed=(130, 129))
    assert watch_failing(NOW, LIMIT) == Watched(0, 0, 0, 0)


def test_failures_close_together_do_not_disable(subscription: Subscription, history: History) -> None:
    history(failed=tuple(0.3 - 0.001 * n for n in range(200)))
    assert watch_failing(NOW, LIMIT) == Watched(1, 0, 0, 0)


def test_enabling_it_again_starts_from_nothing(subscription: Subscription, history: History) -> None:
    fails_since(subscription, 120)
    history(failed=(120, 60, 0))
    watch_failing(NOW, LIMIT)
    subscription.refresh_from_db()
    enable_subscription(subscription)
    assert watch_failing(NOW, LIMIT).disabled == 0
    assert failing_since(subscription) is None


class TestATrial:
    """With a setting, a subscription disabled for its failures is enabled on trial from time to time."""

    EVERY = timedelta(hours=24)

    @pytest.fixture
    def on_trial(self, subscription: Subscription) -> Subscription:
        disable_subscription(subscription, "failing")
        Subscription.objects.filter(pk=subscription.pk).update(disabled_at=NOW - timedelta(hours=25))
        assert watch_failing(NOW, LIMIT, self.EVERY).tried == 1
        subscription.refresh_from_db()
        return subscription

    def test_begins_after_its_time_and_not_for_other_reasons(self, subscription: Subscription) -> None:
        disable_subscription(subscription, "gone")
        Subscription.objects.filter(pk=subscription.pk).update(disabled_at=NOW - timedelta(hours=25))
        assert watch_failing(NOW, LIMIT, self.EVERY).tried == 0
        Subscription.objects.filter(pk=subscription.pk).update(
            disabled_reason="failing", disabled_at=NOW - timedelta(hours=23)
        )
        assert watch_failing(NOW, LIMIT, self.EVERY).tried == 0

    def test_does_not_begin_once_the_partner_disabled_it(self, subscription: Subscription) -> None:
        disable_subscription(subscription, "failing")
        disable_subscription(subscription, "partner")
        Subscription.objects.filter(pk=subscription.pk).update(disabled_at=NOW - timedelta(hours=25))
        assert watch_failing(NOW, LIMIT, self.EVERY).tried == 0

    def test_enables_the_subscription(self, on_trial: Subscription) -> None:
        assert (on_trial.is_enabled, on_trial.disabled_reason) == (True, "failing")

    def test_ends_soon_when_failures_go_on(self, on_trial: Subscription, history: History) -> None:
        fails_since(on_trial, TRIAL / timedelta(hours=1))
        history(failed=(0.5, 0.3, 0))
        assert watch_failing(NOW, LIMIT, self.EVERY) == Watched(0, 0, 1, 0)
        on_trial.refresh_from_db()
        assert (on_trial.is_enabled, on_trial.disabled_reason) == (False, "failing")

    def test_ends_well_with_a_success(self, on_trial: Subscription, history: History) -> None:
        history(succeeded=(0.1,))
        watch_failing(NOW, LIMIT, self.EVERY)
        on_trial.refresh_from_db()
        assert (on_trial.is_enabled, on_trial.disabled_reason) == (True, "")
