"""Operational events in the admin."""

import pytest
from django.test import Client
from django.urls import reverse

from delivery.operational.kinds import BREAKER
from delivery.operational.notify import Notice, notify
from partners.models import Subscription
from tests.delivery.operational.conftest import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.servers]


@pytest.mark.usefixtures("valkey")
def test_operational_events_are_listed_and_shown(admin_client: Client, subscription: Subscription) -> None:
    subscription.partner.operational_url = "https://ops.reviews.com/hooks"
    subscription.partner.save()
    data = {"subscription_id": subscription.pk, "url": "https://<evil>.com", "opened": 1}
    (event,) = notify([Notice(BREAKER, "k", subscription.partner_id, data, subscription.pk)], NOW)
    listed = admin_client.get(reverse("admin:delivery_operationalevent_changelist"), {"kind": BREAKER})
    assert "https://&lt;evil&gt;.com (sub_" in listed.content.decode()
    shown = admin_client.get(reverse("admin:delivery_operationalevent_change", args=[event.pk])).content.decode()
    assert "Awesome Reviews" in shown
    assert ">pending</a>" in shown
