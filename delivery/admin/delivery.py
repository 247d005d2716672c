"""The delivery log: what was sent to whom, every attempt with what came back; retrying."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display

from delivery.admin.event import data_shown
from delivery.admin.list_filters import CreatedFilter, EventTypeFilter
from delivery.admin.outcome import last_outcome_badge, shown, status_badge
from delivery.admin.search import find_deliveries
from delivery.models import Delivery, Event
from delivery.verbs import retry_delivery
from partners.admin.base import DialogForm, ReadOnlyAdmin, link, url_of
from partners.admin.keyset import KeysetAdmin
from partners.admin.looks import ago, moment, short

ATTEMPTS_SHOWN = 50


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery], KeysetAdmin[Delivery]):
    list_display = ("created", "state", "event_type", "to", "tried", "short_id")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("partner", AutocompleteSelectFilter),
        ("subscription", AutocompleteSelectFilter),
        EventTypeFilter,
        CreatedFilter,
    )
    search_fields = ("id",)
    search_help_text = "Id of a delivery, event, subscription or partner"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("state", "last_outcome"),
                    ("of_partner", "of_subscription"),
                    ("event_type", "of_event"),
                    ("created", "next_attempt"),
                    ("finished", "attempt_count"),
                )
            },
        ),
    )
    readonly_fields = (
        "state",
        "last_outcome",
        "of_partner",
        "of_subscription",
        "of_event",
        "created",
        "next_attempt",
        "finished",
    )
    actions = ("retry_selected",)
    actions_detail: ClassVar[Sequence[str | dict[str, Any]]] = ("retry",)
    change_form_outer_after_template = "delivery/admin/delivery.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Names are fetched for the rows of the page, in queries of their own: a join could change the plan."""
        return super().get_queryset(request).prefetch_related("partner", "subscription")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        return find_deliveries(queryset, search_term), False

    def has_retry_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("delivery.change_delivery")

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Delivery | None = None,
    ) -> HttpResponse:
        if obj is not None:
            attempts = obj.attempts.order_by("-number")[:ATTEMPTS_SHOWN]
            context["attempts"] = [shown(attempt) for attempt in attempts]
            context["attempt_count"] = obj.attempt_count
            context["data"] = data_shown(obj.event)
        return super().render_change_form(request, context, add, change, form_url, obj)

    @display(description="Status")
    def state(self, delivery: Delivery) -> SafeString:
        if delivery.next_attempt_at is None:
            return status_badge(delivery)
        return format_html("{}<br>{}", status_badge(delivery), ago(delivery.next_attempt_at))

    @display(description="Sent to")
    def to(self, delivery: Delivery) -> SafeString:
        return format_html(
            '<span class="rh-line">{}</span><span class="rh-line text-subtle">{}</span>',
            delivery.partner.name,
            delivery.subscription,
        )

    @display(description="Partner")
    def of_partner(self, delivery: Delivery) -> SafeString:
        return link(delivery.partner)

    @display(description="Subscription")
    def of_subscription(self, delivery: Delivery) -> SafeString:
        return link(delivery.subscription)

    @display(description="Event")
    def of_event(self, delivery: Delivery) -> SafeString:
        return format_html('<a class="text-link" href="{}">{}</a>', url_of(Event, delivery.event_id), delivery.event_id)

    @display(description="Last outcome")
    def last_outcome(self, delivery: Delivery) -> SafeString:
        return last_outcome_badge(delivery)

    @display(description="Outcome")
    def tried(self, delivery: Delivery) -> SafeString:
        outcome = last_outcome_badge(delivery)
        return format_html("{} ×{}", outcome, delivery.attempt_count) if delivery.attempt_count > 1 else outcome  # noqa: RUF001

    @display(description="Id")
    def short_id(self, delivery: Delivery) -> SafeString:
        return short(delivery.pk)

    @display(description="Created")
    def created(self, delivery: Delivery) -> SafeString:
        return moment(delivery.created_at)

    @display(description="Next attempt")
    def next_attempt(self, delivery: Delivery) -> SafeString:
        return moment(delivery.next_attempt_at)

    @display(description="Finished")
    def finished(self, delivery: Delivery) -> SafeString:
        return moment(delivery.finished_at)

    @action(
        description="Retry now",
        icon="replay",
        permissions=["retry"],
        dialog={
            "title": "Retry this delivery now",
            "description": "The next attempt is made at once, at the partner's pace, whatever became of it before.",
            "form_submit_text": "Retry",
        },
    )
    def retry(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        found = self.wanted(request, object_id)
        try:
            retry_delivery(found)
        except ValidationError as error:
            return self.refused(request, found, " ".join(error.messages))
        return self.done(request, found, "Another attempt is on its way.", log="Retried.")

    @admin.action(description="Retry now", permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        retried, refused = 0, []
        for one in queryset[: self.list_per_page]:
            try:
                retry_delivery(one)
            except ValidationError as error:
                refused.append(f"{one}: {' '.join(error.messages)}")
                continue
            self.log_change(request, one, "Retried.")
            retried += 1
        messages.success(request, f"{retried} on their way.")
        if refused:
            messages.error(request, "\n".join(refused[:5]))
