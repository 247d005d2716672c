"""Filters of deliveries and events, each with a condition that can use an index."""

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from delivery.models import Delivery, Event
from partners.admin.list_filters import TextFilter, TimeRangeFilter
from partners.identifiers import DELIVERY
from partners.made_at import made_between

RARE = 2000
"""A type with more events than this is common."""


class CreatedFilter(TimeRangeFilter):
    title = "created"
    name = "created"

    def condition(self, start: datetime | None, end: datetime | None) -> Q:
        return made_between(DELIVERY, "created_at", start, end)


class ReceivedFilter(TimeRangeFilter):
    title = "received"
    name = "received"

    def condition(self, start: datetime | None, end: datetime | None) -> Q:
        condition = Q(received_at__gte=start) if start is not None else Q()
        return condition & Q(received_at__lt=end) if end is not None else condition


class EventTypeFilter(TextFilter):
    """A type, or all types below one: `orders.*`.

    Deliveries have no index by type, because each update of a row would have to maintain it. Deliveries of a rare type
    are found through the index of events; those of a common type by scanning, since some are near any position.
    """

    title = "event type"
    parameter_name = "type"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = (self.value() or "").strip()
        if not wanted or wanted == "*":
            return queryset
        lookup, value = ("startswith", wanted[:-1]) if wanted.endswith(".*") else ("exact", wanted)
        by_index = Event.objects.filter(**{f"type__{lookup}": value}).order_by("type", "-received_at")
        keys = list(by_index.values_list("pk", flat=True)[: RARE + 1])
        of_deliveries = queryset.model is Delivery
        if len(keys) <= RARE:
            return queryset.filter(**{"event__in" if of_deliveries else "pk__in": keys})
        return queryset.filter(**{f"event_type__{lookup}" if of_deliveries else f"type__{lookup}": value})
