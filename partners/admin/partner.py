"""The page of a partner: its pace, contact, notes and subscriptions; pausing and resuming."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from partners import audit, services
from partners.admin.base import DialogForm, StaffAdmin, link, list_url
from partners.admin.columns import id_column, time_column
from partners.admin.dialog import dialog
from partners.admin.list_filters import ConditionFilter
from partners.admin.looks import ago, badge
from partners.admin.panel import Panel
from partners.admin.pausing import PauseForm
from partners.admin.subscription import state_badge
from partners.models import FOREVER, Partner, Subscription

PANEL_ROWS = 20


class PartnerForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the checker only
    class Meta:
        model = Partner
        fields = (
            "name",
            "rate_limit",
            "rate_limit_ceiling",
            "max_in_flight",
            "operational_url",
            "operational_email",
            "notes",
        )
        labels: ClassVar[dict[str, str]] = {
            "rate_limit_ceiling": "Ceiling",
            "max_in_flight": "In-flight cap",
            "operational_url": "Operational URL",
            "operational_email": "Operational e-mail",
        }
        widgets: ClassVar[dict[str, Any]] = {"notes": UnfoldAdminTextareaWidget(attrs={"rows": 3})}


class StateFilter(ConditionFilter):
    title = "state"
    parameter_name = "state"
    conditions: ClassVar = {
        "active": ("Active", Q(paused_until=None) | Q(paused_until__lte=Now())),
        "paused": ("Paused", Q(paused_until__gt=Now())),
        "limited": ("With a rate limit", ~Q(rate_limit="")),
    }


@admin.register(Partner)
class PartnerAdmin(StaffAdmin[Partner]):
    form = PartnerForm
    list_display = ("name", "state", "pace", "cap", "subscription_count", "created", "short_id")
    list_filter = (StateFilter,)
    search_fields = ("name", "id__startswith")
    search_help_text = "Name or id"
    ordering = ("name",)
    readonly_fields = ("id", "state", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": (("name", "state"),)}),
        ("Pace", {"fields": ("rate_limit", "rate_limit_ceiling", "max_in_flight")}),
        ("Contact", {"fields": ("operational_url", "operational_email", "notes")}),
        ("Record", {"fields": ("id", "created_at", "updated_at"), "classes": ("collapse",)}),
    )
    add_fieldsets = ((None, {"fields": ("name",)}), *fieldsets[1:3])
    actions = ("pause_selected", "resume_selected")
    actions_detail: ClassVar[Sequence[str | dict[str, Any]]] = ("pause", "resume")
    change_form_outer_after_template = "partners/admin/panels.html"

    created = time_column("created_at", "Created", ordering="created_at")
    short_id = id_column()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Partner]:
        """Counts subscriptions in a subquery, which PostgreSQL runs only for the rows of the page."""
        own = Subscription.objects.filter(partner=OuterRef("pk"), deleted_at=None).order_by().values("partner")
        count = Subquery(own.annotate(n=Count("pk")).values("n"), output_field=IntegerField())
        return super().get_queryset(request).annotate(subscriptions_now=Coalesce(count, Value(0)))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A partner that ever had a subscription cannot be deleted: its delivery log refers to it."""
        unused = not isinstance(obj, Partner) or not obj.subscriptions.exists()
        return unused and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Partner, form: Any, change: bool) -> None:
        """Saves only the fields that were changed in the form, so that a pause made meanwhile is kept."""
        if change:
            services.update_partner(obj, {name: form.cleaned_data[name] for name in form.changed_data})
        else:
            obj.pk = services.create_partner(**form.cleaned_data).pk
            obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: Partner) -> None:
        with transaction.atomic():
            audit.record("partner.delete", obj, partner_id=obj.pk, before=audit.snapshot(obj))
            obj.delete()

    def panels(self, partner: Partner) -> Sequence[Panel]:
        newest = partner.subscriptions.filter(deleted_at=None).order_by("-id")[:PANEL_ROWS]
        return [
            Panel(
                title="Subscriptions",
                headers=("Endpoint", "Event types", "State"),
                rows=[(link(one), ", ".join(one.event_types[:6]), state_badge(one)) for one in newest],
                empty="This partner has no subscriptions.",
                link=list_url(Subscription, partner__id__exact=partner.pk),
            )
        ]

    @display(description="State")
    def state(self, partner: Partner) -> SafeString:
        if not partner.is_paused or partner.paused_until is None:
            return badge("Active", "success")
        if partner.paused_until >= FOREVER:
            return badge("Paused", "warning", f"by {partner.paused_by or 'staff'}, until somebody resumes")
        title = f"by {partner.paused_by or 'staff'}, ends {ago(partner.paused_until)}"
        return badge(f"Paused until {partner.paused_until:%Y-%m-%d %H:%M}", "warning", title)

    @display(description="Rate limit")
    def pace(self, partner: Partner) -> str:
        return partner.rate_limit_in_force or "-"

    @display(description="In-flight cap", ordering="max_in_flight")
    def cap(self, partner: Partner) -> int:
        return partner.max_in_flight

    @display(description="Subscriptions")
    def subscription_count(self, partner: Partner) -> int:
        count: int = partner.subscriptions_now  # type: ignore[attr-defined]  # annotated above
        return count

    @dialog(
        "Pause",
        "pause",
        title="Pause deliveries to this partner",
        text="Requests in flight end normally. New events wait in the partner's queue.",
        form=PauseForm,
    )
    def pause(self, request: HttpRequest, form: PauseForm, object_id: str) -> HttpResponse:
        partner = self.wanted(request, object_id)
        ends_at = form.ends_at
        services.pause_partner(partner, ends_at)
        until = "somebody resumes" if ends_at == FOREVER else f"{ends_at:%Y-%m-%d %H:%M} UTC"
        return self.done(request, partner, f"Paused until {until}.")

    @dialog(
        "Resume",
        "play_arrow",
        title="Resume deliveries to this partner",
        text="The events that wait are sent, within the partner's rate limit.",
    )
    def resume(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        partner = self.wanted(request, object_id)
        services.resume_partner(partner)
        return self.done(request, partner, "Resumed.")

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Offers either pause or resume: the one that changes something."""
        partner = self.get_object(request, unquote(object_id))
        idle = "resume" if partner is None or not partner.is_paused else "pause"
        offered = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # Unfold's
        return [one for one in offered if not one.action_name.endswith(f"_{idle}")]

    @admin.action(description="Pause until somebody resumes", permissions=["change"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Partner]) -> None:
        services.pause_partners(queryset)
        self.done_to_all(request, queryset, "paused", log="Paused until somebody resumes.")

    @admin.action(description="Resume", permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Partner]) -> None:
        services.resume_partners(queryset)
        self.done_to_all(request, queryset, "resumed")
