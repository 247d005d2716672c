"""Publishing by the API applies earlier changes of subscriptions at once, and loads each change only once."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from delivery.catalogue import Catalogue
from delivery.intake import Intake
from delivery.messages import NewEvent
from delivery.models import Delivery
from delivery.routes import SubscriptionRouter
from partners.models import Subscription
from partners.services import create_partner, create_subscription, disable_subscription

pytestmark = [pytest.mark.django_db, pytest.mark.servers]


@pytest.fixture
def subscriptions() -> list[Subscription]:
    partner = create_partner("Awesome Reviews")
    return [create_subscription(partner, "https://hooks.reviews.com/in", ["orders.*"]) for _ in range(10)]


@pytest.fixture
def intake() -> Intake:
    """An intake whose listener has not received any change yet."""
    return Intake(SubscriptionRouter(), Catalogue(), send=len)


def publish(intake: Intake, id_: str) -> int:
    """Returns the number of queries that it took."""
    with CaptureQueriesContext(connection) as queries:
        intake.take([NewEvent(id_, "orders.created", "", timezone.now(), b"{}")])
    return len([one for one in queries if "partners_subscription" in one["sql"]])


def test_what_has_changed_is_loaded_in_one_query_and_only_once(
    intake: Intake, subscriptions: list[Subscription]
) -> None:
    assert publish(intake, "e1") == 2, "what has changed, and how it is now"
    assert Delivery.objects.filter(event="e1").count() == 10
    assert publish(intake, "e2") == 1
    assert Delivery.objects.filter(event="e2").count() == 10


def test_what_changes_again_is_loaded_again(intake: Intake, subscriptions: list[Subscription]) -> None:
    publish(intake, "e1")
    disable_subscription(subscriptions[0], "partner")
    assert publish(intake, "e2") == 2
    gone = set(Delivery.objects.filter(event="e1").values_list("subscription", flat=True)) - set(
        Delivery.objects.filter(event="e2").values_list("subscription", flat=True)
    )
    assert gone == {subscriptions[0].pk}
