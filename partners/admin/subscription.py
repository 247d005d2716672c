"""The page of a subscription: its endpoint, what is sent, its state. Signing secrets are shown by the actions only."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from partners import services
from partners.admin.base import per_object
from partners.admin.columns import link_column, time_column
from partners.admin.fields import delay
from partners.admin.list_filters import ConditionFilter
from partners.admin.looks import badge, code, json_code, lines, moment
from partners.admin.subscription_actions import SubscriptionActions
from partners.admin.subscription_form import SubscriptionForm
from partners.encryption import readable
from partners.event_types import unknown_types
from partners.models import Subscription, SubscriptionSecret


class StateFilter(ConditionFilter):
    title = "state"
    parameter_name = "state"
    all_option: ClassVar[list[str]] = ["", "All but deleted"]
    conditions: ClassVar = {
        "enabled": ("Enabled", Q(is_enabled=True)),
        "disabled": ("Disabled", Q(is_enabled=False, deleted_at=None)),
        "failing": ("Failing", Q(is_enabled=True, failing_since__isnull=False)),
        "deleted": ("Deleted", Q(deleted_at__isnull=False)),
    }
    otherwise = Q(deleted_at=None)


_SHOWN = ("headers_shown", "retries_shown", "patterns_shown", "filter_shown", "transformation_shown")


@admin.register(Subscription)
class SubscriptionAdmin(SubscriptionActions):
    form = SubscriptionForm
    list_display = ("endpoint", "of_partner", "patterns", "state", "created")
    list_filter = (StateFilter, ("partner", AutocompleteSelectFilter))
    list_select_related = ("partner",)
    search_fields = ("id__startswith", "url", "description", "partner__name")
    search_help_text = "Id, URL, description or partner"
    ordering = ("-id",)
    change_form_outer_after_template = "partners/admin/panels.html"
    autocomplete_fields = ("partner",)
    readonly_fields: ClassVar[tuple[str, ...]] = (
        "id",
        "state",
        "since",
        "signing",
        "created_at",
        "updated_at",
        *_SHOWN,
    )
    fieldsets: ClassVar[tuple[Any, ...]] = (
        (None, {"fields": (("partner", "description"), ("state", "since"))}),
        ("Endpoint", {"fields": ("url", "headers", "timeout_s", "retry_schedule_s", "signing")}),
        ("What is sent", {"fields": ("event_types", "filter", "transformation")}),
        ("Record", {"fields": ("id", "created_at", "updated_at"), "classes": ("collapse",)}),
    )
    add_fieldsets: ClassVar[tuple[Any, ...]] = (
        (None, {"fields": (("partner", "description"),)}),
        ("Endpoint", {"fields": ("url", "headers", "timeout_s", "retry_schedule_s")}),
        fieldsets[2],
    )

    of_partner = link_column("partner", "Partner", ordering="partner__name")
    created = time_column("created_at", "Created", ordering="id")

    def get_fieldsets(self, request: HttpRequest, obj: Subscription | None = None) -> Any:
        """Staff who may only view get fields formatted for reading, and of the headers only the names."""
        if obj is None or self.has_change_permission(request, obj):
            return super().get_fieldsets(request, obj)
        return (
            self.fieldsets[0],
            ("Endpoint", {"fields": ("url", "headers_shown", "timeout_s", "retries_shown", "signing")}),
            ("What is sent", {"fields": ("patterns_shown", "filter_shown", "transformation_shown")}),
            self.fieldsets[-1],
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Subscription | None = None) -> tuple[str, ...]:
        if obj is None:
            return self.readonly_fields
        return (*self.readonly_fields, "partner", *(services.OF_THE_PROFILE if obj.is_operational else ()))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A deleted subscription is read-only."""
        deleted = isinstance(obj, Subscription) and obj.deleted_at is not None
        return not deleted and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The delivery log refers to the row, so it stays: the action `delete` only marks it."""
        return False

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in (form.changed_data if change else form.fields)}
        if change:
            services.update_subscription(obj, values)
        else:
            obj.pk = services.create_subscription(**values).pk
            obj.refresh_from_db()
            messages.info(request, "A new secret signs its requests. Secret > Reveal shows it, for you to pass on.")
        for sentence in unknown_types(values.get("event_types", ())):
            messages.warning(request, sentence)

    @display(description="Endpoint", header=True)
    def endpoint(self, subscription: Subscription) -> tuple[str, str]:
        return subscription.description or subscription.url, subscription.url if subscription.description else ""

    @display(description="Event types")
    def patterns(self, subscription: Subscription) -> SafeString:
        shown = subscription.event_types[:3]
        more = len(subscription.event_types) - len(shown)
        return lines([*shown, f"and {more} more"] if more else shown)

    @display(description="State")
    def state(self, subscription: Subscription) -> SafeString:
        return state_badge(subscription)

    @display(description="Event types")
    def patterns_shown(self, subscription: Subscription) -> SafeString:
        return lines(subscription.event_types)

    @display(description="Headers")
    def headers_shown(self, subscription: Subscription) -> SafeString:
        return lines(subscription.header_names) or SafeString("-")

    @display(description="Retry schedule")
    def retries_shown(self, subscription: Subscription) -> str:
        schedule = subscription.retry_schedule_s
        return "default" if schedule is None else ", ".join(map(delay, schedule))

    @display(description="Filter")
    def filter_shown(self, subscription: Subscription) -> SafeString:
        return code(subscription.filter) if subscription.filter else SafeString("-")

    @display(description="Transformation")
    def transformation_shown(self, subscription: Subscription) -> SafeString:
        return json_code(subscription.transformation) if subscription.transformation else SafeString("-")

    @display(description="Since")
    def since(self, subscription: Subscription) -> SafeString:
        return moment(subscription.deleted_at or subscription.disabled_at or subscription.failing_since)

    @display(description="Signing secrets")
    @per_object
    def signing(self, subscription: Subscription) -> SafeString:
        live = services.live_secrets(subscription)
        return lines(f"made {secret.created_at:%Y-%m-%d %H:%M}, {_signs(secret)}" for secret in live) or SafeString(
            "none"
        )


def _signs(secret: SubscriptionSecret) -> str:
    if readable(secret.token) is None:
        return "cannot be read, so nothing is signed"
    return f"signs until {secret.expires_at:%Y-%m-%d %H:%M}" if secret.expires_at else "signs"


def state_badge(subscription: Subscription) -> SafeString:
    state = _state_badge(subscription)
    if not subscription.is_operational:
        return state
    return format_html("{} {}", state, badge("Operational", "info", "gets the partner's operational events only"))


def _state_badge(subscription: Subscription) -> SafeString:
    if subscription.deleted_at is not None:
        return badge("Deleted")
    if subscription.disabled_reason == Subscription.DisabledReason.UNVERIFIED:
        return badge("Unverified", "warning", subscription.get_disabled_reason_display())
    if not subscription.is_enabled:
        return badge("Disabled", "danger", subscription.get_disabled_reason_display())
    if subscription.failing_since is not None:
        return badge("Failing", "warning", f"since {subscription.failing_since:%Y-%m-%d %H:%M}")
    return badge("Enabled", "success")
