"""Deliveries that the broker lost are queued by short runs, each of which continues where the last one ended."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest
from django.utils import timezone

from delivery import publish
from delivery.breaker import Opened
from delivery.breaker_store import SharedBreakers
from delivery.broker import FairMessage, FairQueues
from delivery.mending import mend
from delivery.models import Delivery
from delivery.reconcile import look_back, reconcile
from partners import services
from partners.models import Subscription
from tests.delivery.test_commands import due, new_delivery

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]


@pytest.fixture
def queues(wiped_queues: FairQueues) -> FairQueues:
    return wiped_queues


@pytest.fixture
def subscriptions() -> list[Subscription]:
    """Subscriptions of three partners."""
    partners = [services.create_partner(f"Partner {number}") for number in range(3)]
    return [services.create_subscription(one, "https://hooks.example.com/in", ["orders.*"]) for one in partners]


def at_once() -> bool:
    return True


def held(queues: FairQueues) -> int:
    return sum(queues.size(name) for name in queues.names())


def test_breakers_that_no_attempt_will_close_are_closed(
    queues: FairQueues, subscriptions: Sequence[Subscription]
) -> None:
    enabled, disabled, deleted = subscriptions
    shared = SharedBreakers(queues.client)
    for one in subscriptions:
        shared.open(one.pk, Opened(timezone.now().timestamp() + 5, 5))
    services.disable_subscription(disabled, "staff")
    services.delete_subscription(deleted)

    reconcile(queues)

    assert set(shared.opened()) == set(shared.since()) == {enabled.pk}


class TestLookBack:
    def look(self, queues: FairQueues, is_over: Callable[[], bool] = at_once) -> list[str]:
        """Makes one run with pages of two; returns the partners of which it found lost deliveries."""
        found = []
        for _, lost in look_back(queues, size=2, is_over=is_over):
            publish.publish(lost, queues)
            found += [one.partner_id for one in lost]
        return found

    def test_a_run_whose_time_is_over_is_gone_on_with_after_its_last_partner(
        self, queues: FairQueues, subscriptions: Sequence[Subscription]
    ) -> None:
        for subscription in subscriptions:
            new_delivery(subscription)
        partners = sorted(one.partner_id for one in subscriptions)

        assert [self.look(queues) for _ in range(3)] == [[partner_id] for partner_id in partners]
        assert self.look(queues, is_over=lambda: False) == []
        assert not queues.client.keys("reconcile-partner")
        new_delivery(subscriptions[0])
        assert [found for _ in range(3) for found in self.look(queues)] == [subscriptions[0].partner_id]

    def test_what_is_made_meanwhile_is_not_lost(
        self, queues: FairQueues, subscriptions: Sequence[Subscription]
    ) -> None:
        """A page is read, then its deliveries are made, then the broker is asked."""
        made, retried, lost = (new_delivery(subscriptions[0]) for _ in range(3))

        class Late(FairQueues):
            def missing(self, queue: str, ids: Sequence[str]) -> list[str]:
                Delivery.objects.filter(pk=made.pk).update(
                    status="succeeded", next_attempt_at=None, finished_at=timezone.now()
                )
                Delivery.objects.filter(pk=retried.pk).update(attempt_count=1)
                return super().missing(queue, ids)

        found = [one for _, page in look_back(Late(queues.client)) for one in page]
        assert [one.message_id for one in found] == [due(lost).message_id]

    def test_what_a_partner_has_lost_is_gone_on_with_where_the_time_was_over(
        self, queues: FairQueues, subscriptions: Sequence[Subscription]
    ) -> None:
        backlog = [new_delivery(subscriptions[0]) for _ in range(20)]
        publish.publish([due(one) for one in backlog[-5:]])

        for _ in range(20):
            self.look(queues)

        assert held(queues) == 20

    def test_time_that_is_over_does_not_forget_how_far_it_came(
        self, queues: FairQueues, subscriptions: Sequence[Subscription]
    ) -> None:
        backlog = [new_delivery(subscriptions[0]) for _ in range(20)]
        publish.publish([due(one) for one in backlog[1:]])

        for _ in range(10):
            self.look(queues)

        assert held(queues) == 20


class TestAWipedBroker:
    def fill(self, subscriptions: Sequence[Subscription]) -> list[Delivery]:
        overdue = [new_delivery(one) for one in subscriptions for _ in range(5)]
        return overdue + [new_delivery(one, errors=("timeout",)) for one in subscriptions]

    def test_it_is_filled_in_runs_none_of_which_begins_again(
        self, queues: FairQueues, subscriptions: Sequence[Subscription]
    ) -> None:
        made = self.fill(subscriptions)
        checked = 0
        while queues.was_wiped():
            looked_at, _ = mend(queues, 0, at_once, size=2)
            checked += looked_at

        assert held(queues) == len(made)
        retries = len(subscriptions)
        assert checked == len(made) + retries, "what is overdue and a retry is both"

    def test_a_run_that_is_killed_loses_nothing(
        self, queues: FairQueues, subscriptions: Sequence[Subscription]
    ) -> None:
        made = self.fill(subscriptions)
        runs = 0
        while queues.was_wiped():
            runs += 1
            with suppress(Killed):
                mend(Dying(queues, after=2), 0, lambda: False, size=2)

        assert runs > 3
        assert held(queues) == len(made)

    def test_one_that_is_wiped_meanwhile_is_filled_from_the_beginning(
        self, queues: FairQueues, subscriptions: Sequence[Subscription]
    ) -> None:
        made = self.fill(subscriptions)
        looks = iter([False, False, True])

        def is_over() -> bool:
            if not next(looks, False):
                return False
            queues.client.flushdb()
            return False

        mend(queues, 0, is_over, size=2)
        assert queues.was_wiped()
        mend(queues, 0, is_over, size=2)

        assert not queues.was_wiped()
        assert held(queues) == len(made)


class Killed(Exception):  # noqa: N818 - a state
    """Raised where the process would be killed."""


class Dying(FairQueues):
    """Raises Killed after a number of calls of `publish`."""

    def __init__(self, like: FairQueues, after: int) -> None:
        super().__init__(like.client, like.naming.prefix)
        self.left = after

    def publish(self, messages: Sequence[FairMessage]) -> int:
        if not self.left:
            raise Killed
        self.left -= 1
        return super().publish(messages)
