"""The routing index follows the subscriptions, whichever thread applies a change first."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from delivery.messages import NewEvent
from delivery.routes import SubscriptionRouter
from partners.changes import Change
from partners.services import create_partner, create_subscription, disable_subscription, enable_subscription

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]


def test_of_two_threads_that_take_a_change_over_the_one_that_read_first_does_not_have_the_last_word() -> None:
    subscription = create_subscription(create_partner("Reviews"), "https://hooks.reviews.com/in", ["orders.*"])
    disable_subscription(subscription, "staff")
    router, change = SubscriptionRouter(), Change("subscription", subscription.pk)
    has_read, goes_on = threading.Event(), threading.Event()

    def held_up(execute: Any, *arguments: Any) -> Any:
        result = execute(*arguments)
        has_read.set()
        goes_on.wait(30)
        return result

    def a_request() -> None:
        with connection.execute_wrapper(held_up):
            take_over()

    def take_over() -> None:
        try:
            router.take_over([change])
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        former = threads.submit(a_request)
        assert has_read.wait(30)
        enable_subscription(subscription)
        latter = threads.submit(take_over)
        wait([latter], timeout=0.5)  # it would end first if it could
        goes_on.set()
        for one in (former, latter):
            one.result(30)
    routed = router.route(NewEvent("e1", "orders.created", "", timezone.now(), b"{}"))
    assert [route.subscription_id for route in routed.wanted] == [subscription.pk]
