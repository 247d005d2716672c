"""Tests of the smoke test's check of the tables."""

from ipaddress import ip_network
from typing import Any

import pytest

from delivery.models import Delivery, Event
from partners.models import Subscription
from partners.services import create_partner, create_subscription
from recart_hooks.demo.ledger import unfinished_deliveries
from recart_hooks.demo.partners import PARTNERS
from recart_hooks.demo.seed import seed
from recart_hooks.demo.shop import Shop
from tests.rows import new_delivery, new_event

RUN = "r1"
ENDPOINT = "https://hooks.example.com/mine"

pytestmark = [pytest.mark.servers, pytest.mark.django_db]


def pending(subscription: Subscription) -> Delivery:
    one = next(Shop(RUN).events())
    return new_delivery(subscription, Event.objects.filter(pk=one.id).first() or new_event(id=one.id))


def test_subscriptions_that_somebody_added_to_the_demo_are_not_counted(settings: Any) -> None:
    settings.ENDPOINT_ALLOWED_NETWORKS, settings.ENDPOINT_PORTS = (ip_network("127.0.0.0/8"),), ()
    seed("http://127.0.0.1:9000")
    ours = Subscription.objects.get(partner__name=PARTNERS[0].name)
    for partner in (ours.partner, create_partner("A visitor")):
        pending(create_subscription(partner, ENDPOINT, ["*"]))
    assert unfinished_deliveries(RUN) == []

    mine = pending(ours)

    assert unfinished_deliveries(RUN) == [f"{mine.pk} of {mine.event_id} is pending, not tried"]
    assert unfinished_deliveries("another") == []
