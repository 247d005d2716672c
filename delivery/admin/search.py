"""Finding deliveries and events by their identifiers, by indexes only.

What is typed decides what is asked: `dlv_…` a delivery, `sub_…` a subscription, `ptr_…` a partner, anything else an
event. A beginning is enough. There is no search for "contains": nothing but a full scan could answer it.
"""

from django.db.models import Q, QuerySet

from delivery.models import Delivery, Event
from partners.identifiers import DELIVERY, PARTNER, SUBSCRIPTION

EVENTS_AT_MOST = 1000
"""Deliveries found by the beginning of an event's id."""


def find_deliveries(deliveries: QuerySet[Delivery], term: str) -> QuerySet[Delivery]:
    term = term.strip()
    if not term:
        return deliveries
    # Looked up first: in one query the planner might walk the whole table by id, hoping to meet the event on the way.
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
