"""Searches deliveries and events by identifiers, by indexes only.

The prefix decides what is searched for: `dlv_…` a delivery, `sub_…` a subscription, `ptr_…` a partner. Any term may
also be the id of an event. Of ids of deliveries and events, the beginning is enough. Nothing is searched for a
substring, because that would need a full scan.
"""

from django.db.models import Q, QuerySet

from delivery.models import Delivery, Event
from partners.identifiers import DELIVERY, PARTNER, SUBSCRIPTION

EVENTS_AT_MOST = 1000
"""The most rows that the beginning of an event's id finds."""


def find_deliveries(deliveries: QuerySet[Delivery], term: str) -> QuerySet[Delivery]:
    term = term.strip()
    if not term:
        return deliveries
    # A query of its own: in a joint one, the planner might scan the whole table by id to find the event's rows.
    of_event = Delivery.objects.filter(event__id__startswith=term).order_by("event_id", "subscription_id")
    keys = list(of_event.values_list("pk", flat=True)[:EVENTS_AT_MOST])
    known = {
        DELIVERY: Q(pk__startswith=term),
        SUBSCRIPTION: Q(subscription_id=term),
        PARTNER: Q(partner_id=term),
    }.get(term.partition("_")[0])
    if known is None:
        return deliveries.filter(pk__in=keys)
    return deliveries.filter(known | Q(pk__in=keys) if keys else known)


def find_events(events: QuerySet[Event], term: str) -> QuerySet[Event]:
    term = term.strip()
    if not term:
        return events
    found = Event.objects.filter(pk__startswith=term).order_by("pk").values_list("pk", flat=True)
    return events.filter(pk__in=list(found[:EVENTS_AT_MOST]))
