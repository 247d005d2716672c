"""Filters of the delivery log and the events, each a condition that an index answers or narrows."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from delivery.models import Delivery
from partners.admin.list_filters import TextFilter, TimeRangeFilter
from partners.identifiers import DELIVERY, first_id

ID_SLACK = timedelta(minutes=10)
"""An id is made shortly before its row; by clocks that differ a little."""


class CreatedFilter(TimeRangeFilter):
    """Ids carry their time, so that the primary key finds the range. `created_at` has no index and needs none."""

    title = "created"
    name = "created"

    def condition(self, start: datetime | None, end: datetime | None) -> Q:
        condition = Q()
        if start is not None:
            condition &= Q(pk__gte=first_id(DELIVERY, start - ID_SLACK), created_at__gte=start)
        if end is not None:
            condition &= Q(pk__lt=first_id(DELIVERY, end + ID_SLACK), created_at__lt=end)
        return condition


class ReceivedFilter(TimeRangeFilter):
    title = "received"
    name = "received"

    def condition(self, start: datetime | None, end: datetime | None) -> Q:
        condition = Q(received_at__gte=start) if start is not None else Q()
        return condition & Q(received_at__lt=end) if end is not None else condition


class EventTypeFilter(TextFilter):
    """A type, or everything below one: `orders.*`."""

    title = "event type"
    parameter_name = "type"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = (self.value() or "").strip()
        column = "event_type" if queryset.model is Delivery else "type"
        if not wanted or wanted == "*":
            return queryset
        if wanted.endswith(".*"):
            return queryset.filter(**{f"{column}__startswith": wanted[:-1]})
        return queryset.filter(**{column: wanted})
