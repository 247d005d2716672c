"""Extends the pages of partners and subscriptions: latest deliveries, test events, traffic, replays, the editor.

`partners` must not import `delivery`, so its admin classes are extended here and registered again.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminSelectWidget

from delivery.admin.dashboard import traffic_context, traffic_view
from delivery.admin.editor import EditsWithPreview
from delivery.admin.outcome import LAST_ATTEMPT, last_outcome_badge, status_badge
from delivery.admin.replaying import StartsReplays
from delivery.admin.standing import standing_context, standing_view
from delivery.models import Delivery
from delivery.proof import verify_now
from delivery.verbs import send_test_event, types_to_try
from partners.admin.base import DialogForm, StaffAdmin, link, list_url
from partners.admin.dialog import Act, dialog
from partners.admin.looks import moment
from partners.admin.panel import Panel
from partners.admin.partner import PartnerAdmin
from partners.admin.subscription import SubscriptionAdmin
from partners.admin.subscription_actions import MORE
from partners.models import Partner, Subscription
from partners.places import Busy

SHOWN = 20
CHOICES_AT_MOST = 200


class SubscriptionTestForm(DialogForm):
    """Chooses the type of a test event."""

    event_type = forms.ChoiceField(label="Event type", required=False, widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        subscription = Subscription.objects.filter(pk=unquote(options["object_id"])).first()
        names = types_to_try(subscription) if subscription else []
        choices = [("", "the first type that it asks for"), *((name, name) for name in names[:CHOICES_AT_MOST])]
        self.fields["event_type"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField


class PartnerTestForm(DialogForm):
    """Chooses the subscription that gets a test event."""

    subscription = forms.ModelChoiceField(
        Subscription.objects.none(),
        widget=UnfoldAdminSelectWidget,
        empty_label=None,
        label="Subscription",
        error_messages={"required": "This partner has no enabled subscription."},
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        own = Subscription.objects.filter(partner_id=unquote(options["object_id"]), is_enabled=True)
        self.fields["subscription"].queryset = own.order_by("is_operational", "-id")  # type: ignore[attr-defined]  # a ModelChoiceField


class SendsTestEvents(StaffAdmin[Any]):
    """Sends test events."""

    def send(self, request: HttpRequest, page: Model, subscription: Subscription, event_type: str = "") -> HttpResponse:
        try:
            delivery = send_test_event(subscription, event_type)
        except ValidationError as error:
            return self.refused(request, page, " ".join(error.messages).capitalize())
        message = format_html("A test event {} is on its way: {}", delivery.event_type, link(delivery))
        return self.done(request, page, message, log=f"Sent a test event ({delivery.pk}).")


admin.site.unregister([Partner, Subscription])


def _dialog(form: type[DialogForm]) -> Callable[[Act], Act]:
    return dialog(
        "Send test",
        "send",
        title="Send a test event",
        text="Sends an event with the catalogue's sample to one subscription, signed and recorded like any other.",
        form=form,
        submit="Send",
    )


_EDITOR: tuple[str, dict[str, Any]] = (
    "Filter and transformation",
    {"fields": ("filter", "transformation", "sample_event", "preview_pane"), "classes": ("rh-editor",)},
)


@admin.register(Partner)
class PartnerWithDeliveriesAdmin(PartnerAdmin, SendsTestEvents):
    actions_detail: ClassVar[Sequence[str | dict[str, Any]]] = (*PartnerAdmin.actions_detail, "send_test_event")

    change_form_outer_before_template = "delivery/admin/standing_now.html"
    change_form_outer_after_template = "delivery/admin/partner.html"

    def get_urls(self) -> list[URLPattern]:
        parts = [
            path("traffic/", self.admin_site.admin_view(traffic_view), name="delivery_traffic"),
            path("standing/", self.admin_site.admin_view(standing_view), name="delivery_standing"),
        ]
        return [*parts, *super().get_urls()]

    def page_context(self, request: HttpRequest, obj: Partner) -> dict[str, Any]:
        shown = super().page_context(request, obj)
        if request.user.has_perm("delivery.view_delivery"):
            shown.update(traffic_context(request, obj) | standing_context(Partner.objects.get(pk=obj.pk)))
        return shown

    def panels(self, partner: Partner) -> Sequence[Panel]:
        return [
            *super().panels(partner),
            _latest({"partner": partner}, list_url(Delivery, partner__id__exact=partner.pk)),
        ]

    @_dialog(PartnerTestForm)
    def send_test_event(self, request: HttpRequest, form: PartnerTestForm, object_id: str) -> HttpResponse:
        return self.send(request, self.wanted(request, object_id), form.cleaned_data["subscription"])


@admin.register(Subscription)
class SubscriptionWithDeliveriesAdmin(EditsWithPreview, StartsReplays, SubscriptionAdmin, SendsTestEvents):
    actions_detail: ClassVar[Sequence[str | dict[str, Any]]] = (
        "verify",
        "send_test_event",
        *SubscriptionAdmin.actions_detail[:-1],
        {**MORE, "items": [*MORE["items"], "replay"]},
    )

    change_form_outer_before_template = "delivery/admin/standing_now.html"

    fieldsets = (
        *SubscriptionAdmin.fieldsets[:2],
        ("Event types", {"fields": ("event_types",)}),
        _EDITOR,
        *SubscriptionAdmin.fieldsets[3:],
    )
    add_fieldsets = (*SubscriptionAdmin.add_fieldsets[:2], ("Event types", {"fields": ("event_types",)}), _EDITOR)
    readonly_fields = (*SubscriptionAdmin.readonly_fields, "sample_event", "preview_pane")

    def page_context(self, request: HttpRequest, obj: Subscription) -> dict[str, Any]:
        shown = super().page_context(request, obj)
        if request.user.has_perm("delivery.view_delivery") and obj.deleted_at is None:
            saved = Subscription.objects.select_related("partner").get(pk=obj.pk)
            shown.update(standing_context(saved.partner, saved))
        return shown

    def panels(self, subscription: Subscription) -> Sequence[Panel]:
        address = list_url(Delivery, subscription__id__exact=subscription.pk)
        return [*super().panels(subscription), _latest({"subscription": subscription}, address)]

    @dialog(
        "Verify",
        "verified",
        title="Verify the endpoint",
        text="Sends a signed challenge to the endpoint. If the endpoint echoes it, deliveries start.",
        submit="Send the challenge",
    )
    def verify(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        try:
            _, why_not = verify_now(subscription)
        except Busy:
            return self.refused(request, subscription, "Other requests to endpoints are under way: try again.")
        if why_not:
            return self.refused(request, subscription, f"Not verified: {why_not}")
        return self.done(request, subscription, "Verified: the endpoint has echoed the challenge.")

    @_dialog(SubscriptionTestForm)
    def send_test_event(self, request: HttpRequest, form: SubscriptionTestForm, object_id: str) -> HttpResponse:
        subscription = self.undeleted(request, object_id)
        return self.send(request, subscription, subscription, form.cleaned_data["event_type"])


def _latest(whose: dict[str, Model], address: str) -> Panel:
    own = Delivery.objects.filter(**whose).select_related("subscription").prefetch_related(LAST_ATTEMPT)
    found = own.order_by("-id")[:SHOWN]
    return Panel(
        title="Latest deliveries",
        headers=("Created", "Status", "Event type", "Endpoint", "Outcome", "Attempts"),
        rows=[
            (
                link(one, moment(one.created_at)),
                status_badge(one),
                one.event_type,
                link(one.subscription),
                last_outcome_badge(one),
                str(one.attempt_count),
            )
            for one in found
        ],
        empty="Nothing was delivered yet.",
        link=address,
    )
