"""The delivery log: deliveries with their attempts, and retrying them."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display

from delivery.admin.event import data_shown
from delivery.admin.list_filters import CreatedFilter, EventTypeFilter
from delivery.admin.outcome import LAST_ATTEMPT, hold_shown, last_outcome_badge, shown, status_badge
from delivery.admin.search import find_deliveries
from delivery.holding import hold_on
from delivery.models import Delivery, Event
from delivery.verbs import retry_delivery
from partners.admin.base import DialogForm, ReadOnlyAdmin, link_to, per_object
from partners.admin.columns import id_column, link_column, time_column
from partners.admin.dialog import dialog
from partners.admin.keyset import KeysetAdmin
from partners.admin.looks import ago

ATTEMPTS_SHOWN = 50
ON_ITS_WAY = "Another attempt is on its way."


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
                    "held_back",
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
        "held_back",
        "finished",
    )
    actions = ("retry_selected",)
    actions_detail: ClassVar[Sequence[str | dict[str, Any]]] = ("retry",)
    change_form_outer_after_template = "delivery/admin/delivery.html"

    short_id = id_column()
    of_partner = link_column("partner", "Partner")
    of_subscription = link_column("subscription", "Subscription")
    created = time_column("created_at", "Created")
    next_attempt = time_column("next_attempt_at", "Next attempt")
    finished = time_column("finished_at", "Finished")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Fetches names and outcomes of the page's rows in separate queries: a join could change the plan."""
        return super().get_queryset(request).prefetch_related("partner", "subscription", LAST_ATTEMPT)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        return find_deliveries(queryset, search_term), False

    def has_retry_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("delivery.change_delivery")

    def page_context(self, request: HttpRequest, obj: Delivery) -> dict[str, Any]:
        return {
            **super().page_context(request, obj),
            "attempts": [shown(attempt) for attempt in obj.attempts.order_by("-number")[:ATTEMPTS_SHOWN]],
            "attempt_count": obj.attempt_count,
            "data": data_shown(obj.event),
        }

    @display(description="Status")
    def state(self, delivery: Delivery) -> SafeString:
        if delivery.next_attempt_at is None:
            return status_badge(delivery)
        due = "due " if delivery.next_attempt_at <= timezone.now() else ""
        return format_html("{}<br>{}{}", status_badge(delivery), due, ago(delivery.next_attempt_at))

    @display(description="Held back")
    @per_object
    def held_back(self, delivery: Delivery) -> SafeString:
        hold = hold_on(delivery, delivery.partner, timezone.now())
        return hold_shown(hold) if hold else SafeString("-")

    @display(description="Sent to")
    def to(self, delivery: Delivery) -> SafeString:
        return format_html(
            '<span class="rh-line">{}</span><span class="rh-line text-subtle">{}</span>',
            delivery.partner.name,
            delivery.subscription,
        )

    @display(description="Event")
    def of_event(self, delivery: Delivery) -> SafeString:
        return link_to(Event, delivery.event_id, delivery.event_id)

    @display(description="Last outcome")
    def last_outcome(self, delivery: Delivery) -> SafeString:
        return last_outcome_badge(delivery)

    @display(description="Outcome")
    def tried(self, delivery: Delivery) -> SafeString:
        """The last outcome, with the reason if there was no answer."""
        times = f" ×{delivery.attempt_count}" if delivery.attempt_count > 1 else ""  # noqa: RUF001
        why = delivery.last_error if delivery.last_status_code is None else ""
        return format_html(
            '{}{}<span class="rh-line rh-why text-subtle" title="{}">{}</span>',
            last_outcome_badge(delivery),
            times,
            why,
            why,
        )

    @dialog(
        "Retry now",
        "replay",
        title="Retry this delivery now",
        text="The next attempt is due now, even if the delivery has ended. It still waits for the partner's limits, "
        "for the end of a pause, and for an open breaker.",
        submit="Retry",
        permissions=["retry"],
    )
    def retry(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        found = self.wanted(request, object_id)
        try:
            retry_delivery(found)
        except ValidationError as error:
            return self.refused(request, found, " ".join(error.messages))
        found.refresh_from_db()
        hold = hold_on(found, found.partner, timezone.now())
        message = format_html("Another attempt is due, but held back {}", hold_shown(hold)) if hold else ON_ITS_WAY
        return self.done(request, found, message, log="Retried.")

    @admin.action(description="Retry now", permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        retried, refused = 0, []
        for one in queryset[: self.list_per_page]:
            try:
                retry_delivery(one, is_one_of_many=True)
            except ValidationError as error:
                refused.append(f"{one}: {' '.join(error.messages)}")
                continue
            self.log_change(request, one, "Retried.")
            retried += 1
        messages.success(request, f"Retried: {retried}.")
        if refused:
            messages.error(request, "\n".join(refused[:5]))
