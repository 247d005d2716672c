"""Rows for tests: subscriptions, events and deliveries."""

from datetime import UTC, datetime
from typing import Any

from delivery.models import Delivery, Event
from partners import services
from partners.identifiers import new_id
from partners.models import Partner, Subscription

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def new_subscription(partner: str = "Yotpo") -> Subscription:
    """One that wants everything, of the partner with this name."""
    owner = Partner.objects.filter(name=partner).first() or services.create_partner(partner)
    return services.create_subscription(owner, "https://hooks.example.com/recart", ["*"])


def new_event(**fields: Any) -> Event:
    fields = {"id": new_id("evt"), "type": "orders.created", "occurred_at": NOON, "data": '{"n": 1.10}', **fields}
    return Event.objects.create(**fields)


def new_delivery(
    subscription: Subscription | None = None, event: Event | None = None, *, at: datetime = NOON, **fields: Any
) -> Delivery:
    """Pending and due at this time, or ended then, unless the fields say otherwise."""
    subscription, event = subscription or new_subscription(), event or new_event()
    when = "next_attempt_at" if fields.get("status", "pending") == "pending" else "finished_at"
    fields = {when: at, "partner_id": subscription.partner_id, "event_type": event.type, **fields}
    return Delivery.objects.create(event=event, subscription=subscription, **fields)
