"""The pages of event types: those of the catalogue, and those that were seen in events but are not described yet."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from partners import audit
from partners.admin.base import ChangeList, StaffAdmin, per_object
from partners.admin.fields import CodeArea
from partners.admin.list_filters import ConditionFilter, DropdownFilter
from partners.admin.looks import badge
from partners.models import EventType, Subscription
from partners.patterns import asks_for, category


class EventTypeForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the checker only
    class Meta:
        model = EventType
        fields = (
            "name",
            "description",
            "schema",
            "sample",
            "version",
            "on_schema_error",
            "is_deprecated",
            "is_catalogued",
        )
        widgets: ClassVar[dict[str, Any]] = {
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
            "schema": CodeArea("json", rows=14, placeholder='{"type": "object"}'),
            "sample": CodeArea("json", rows=14, placeholder='{"id": 1001}'),
        }


class StateFilter(ConditionFilter):
    title = "state"
    parameter_name = "state"
    conditions: ClassVar = {
        "catalogued": ("Catalogued", Q(is_catalogued=True)),
        "seen": ("Seen, not catalogued", Q(is_catalogued=False)),
        "deprecated": ("Deprecated", Q(is_deprecated=True)),
        "unspecified": ("Without a schema", Q(schema="")),
    }


class CategoryFilter(DropdownFilter):
    title = "category"
    parameter_name = "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = EventType.objects.values_list("name", flat=True)
        return [(one, one) for one in sorted({category(name) for name in names})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[EventType]) -> QuerySet[EventType]:
        chosen = self.value()
        return queryset.filter(name=chosen) | queryset.filter(name__startswith=f"{chosen}.") if chosen else queryset


class EventTypeList(ChangeList):
    """Counts the subscribers of all rows with one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        wanted = wanted_patterns()
        self.result_list = list(self.result_list)  # runs the query here, so that the template gets these very rows
        for row in self.result_list:
            row.subscribers_now = subscribers_of(row.name, wanted)


@admin.register(EventType)
class EventTypeAdmin(StaffAdmin[EventType]):
    form = EventTypeForm
    list_display = ("name", "of_category", "state", "described", "version", "subscribers")
    list_filter = (StateFilter, CategoryFilter)
    search_fields = ("name", "description")
    search_help_text = "Name or description"
    ordering = ("name",)
    readonly_fields = ("of_category", "state", "subscribers", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": (("name", "subscribers"), "description", "state")}),
        ("Data", {"fields": ("sample", "schema", ("on_schema_error", "version"))}),
        ("Standing", {"fields": (("is_catalogued", "is_deprecated"),)}),
        ("Record", {"fields": ("created_at", "updated_at"), "classes": ("collapse",)}),
    )
    add_fieldsets = ((None, {"fields": ("name", "description")}), fieldsets[1])
    actions = ("catalogue_selected",)

    def save_model(self, request: HttpRequest, obj: EventType, form: Any, change: bool) -> None:
        with transaction.atomic():
            before = audit.snapshot(EventType.objects.get(pk=obj.pk)) if change else {}
            super().save_model(request, obj, form, change)
            _record("event_type.update" if change else "event_type.create", obj, before, audit.snapshot(obj))

    def delete_model(self, request: HttpRequest, obj: EventType) -> None:
        with transaction.atomic():
            _record("event_type.delete", obj, audit.snapshot(obj), {})
            obj.delete()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EventTypeList

    def get_readonly_fields(self, request: HttpRequest, obj: EventType | None = None) -> tuple[str, ...]:
        """The name cannot be changed: it is the primary key, and producers and patterns refer to it."""
        return (*self.readonly_fields, "name") if obj else self.readonly_fields

    @display(description="Category")
    def of_category(self, event_type: EventType) -> str:
        return event_type.category

    @display(description="State")
    def state(self, event_type: EventType) -> SafeString:
        if not event_type.is_catalogued:
            return badge("Seen, not catalogued", "warning")
        return badge("Deprecated") if event_type.is_deprecated else badge("Catalogued", "success")

    @display(description="Has")
    def described(self, event_type: EventType) -> str:
        parts = [name for name in ("description", "schema", "sample") if getattr(event_type, name)]
        return ", ".join(parts) or "-"

    @display(description="Subscribers")
    @per_object
    def subscribers(self, event_type: EventType) -> int:
        known: int | None = getattr(event_type, "subscribers_now", None)
        return subscribers_of(event_type.name, wanted_patterns()) if known is None else known

    @admin.action(description="Add to the catalogue", permissions=["change"])
    def catalogue_selected(self, request: HttpRequest, queryset: QuerySet[EventType]) -> None:
        changed = list(queryset.filter(is_catalogued=False))
        for one in changed:
            with transaction.atomic():
                one.is_catalogued = True
                one.save(update_fields=["is_catalogued", "updated_at"])
                _record("event_type.update", one, {"is_catalogued": False}, {"is_catalogued": True})
        self.done_to_all(request, changed, "added to the catalogue")


def _record(what: str, event_type: EventType, before: dict[str, Any], after: dict[str, Any]) -> None:
    audit.record(what, event_type, partner_id=None, before=before, after=after)


def wanted_patterns() -> list[tuple[list[str], int]]:
    """Each distinct list of patterns of enabled subscriptions, with the number of subscriptions that have it."""
    live = Subscription.objects.filter(is_enabled=True, deleted_at=None, is_operational=False).order_by()
    return list(live.values_list("event_types").annotate(Count("pk")))


def subscribers_of(event_type: str, wanted: Iterable[tuple[Sequence[str], int]]) -> int:
    return sum(count for patterns, count in wanted if asks_for(patterns, event_type))
