"""Events as received, and their deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from delivery.admin.list_filters import EventTypeFilter, ReceivedFilter
from delivery.admin.outcome import LAST_ATTEMPT, last_outcome_badge, status_badge
from delivery.admin.search import find_events
from delivery.models import Delivery, Event
from partners.admin.base import ReadOnlyAdmin, link, list_url
from partners.admin.columns import id_column, time_column
from partners.admin.keyset import KeysetAdmin
from partners.admin.looks import badge, code, json_code, short
from partners.admin.panel import Panel

DELIVERIES_SHOWN = 50


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin[Event], KeysetAdmin[Event]):
    keyset = ("received_at", "id")
    list_display = ("received", "type", "short_id", "source", "occurred", "schema")
    list_filter = (EventTypeFilter, ReceivedFilter)
    search_fields = ("id",)
    search_help_text = "Id of an event, or its beginning"
    fieldsets = ((None, {"fields": (("type", "source"), ("occurred", "received"), ("schema", "traceparent"))}),)
    readonly_fields = ("received", "occurred", "schema")
    change_form_outer_after_template = "delivery/admin/event.html"

    short_id = id_column()
    occurred = time_column("occurred_at", "Occurred")
    received = time_column("received_at", "Received")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Defers the data, which may be large; only the page of an event loads it."""
        return super().get_queryset(request).defer("data")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        return find_events(queryset, search_term), False

    def page_context(self, request: HttpRequest, obj: Event) -> dict[str, Any]:
        return {**super().page_context(request, obj), "data": data_shown(obj)}

    def panels(self, event: Event) -> Sequence[Panel]:
        return [_deliveries(event)]

    @display(description="Schema")
    def schema(self, event: Event) -> SafeString:
        return badge("breaks its schema", "warning", event.schema_error) if event.schema_error else SafeString("-")


@dataclass(frozen=True, slots=True)
class DataShown:
    """An event's data as HTML: formatted, and as received."""

    laid_out: SafeString
    raw: SafeString
    length: int
    expunged_at: datetime | None


_TO_BE_MADE = badge("to be made", "info", "The partner has many subscriptions, or slow filters")


def data_shown(event: Event) -> DataShown:
    return DataShown(json_code(event.data), code(event.data), len(event.data), event.expunged_at)


def _deliveries(event: Event) -> Panel:
    to_make = event.fan_outs.select_related("partner").order_by("pk")[:DELIVERIES_SHOWN]
    own = event.deliveries.select_related("partner", "subscription").prefetch_related(LAST_ATTEMPT)
    found = own.order_by("subscription_id")[:DELIVERIES_SHOWN]
    return Panel(
        title="Deliveries",
        headers=("Delivery", "Status", "Last outcome", "Partner", "Subscription", "Attempts"),
        rows=[
            *(
                ("-", _TO_BE_MADE, "waits in the queue", link(one.partner), "those that want it", "-")
                for one in to_make
            ),
            *(
                (
                    link(one, short(one.pk)),
                    status_badge(one),
                    last_outcome_badge(one),
                    link(one.partner),
                    link(one.subscription),
                    str(one.attempt_count),
                )
                for one in found
            ),
        ],
        empty="Nobody was subscribed to it.",
        link=list_url(Delivery, q=event.pk),
    )
