"""Operational events: the notices that partners and staff got."""

from typing import ClassVar

from django.contrib import admin
from django.db.models import Q
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from delivery.models import Delivery, OperationalEvent
from delivery.operational.kinds import BREAKER, DEAD, DISABLED, FAILING, KINDS, LIMITED
from partners.admin.base import ReadOnlyAdmin, link
from partners.admin.columns import link_column, time_column
from partners.admin.keyset import KeysetAdmin
from partners.admin.list_filters import ConditionFilter
from partners.admin.looks import Kind, badge, json_code

_LOOKS: dict[str, Kind] = {DISABLED: "danger", DEAD: "danger", FAILING: "warning", BREAKER: "warning", LIMITED: "info"}


class KindFilter(ConditionFilter):
    title = "kind"
    parameter_name = "kind"
    conditions: ClassVar = {name: (name, Q(kind=name)) for name in KINDS}


@admin.register(OperationalEvent)
class OperationalEventAdmin(ReadOnlyAdmin[OperationalEvent], KeysetAdmin[OperationalEvent]):
    list_display = ("created", "what", "of_partner", "title")
    list_filter = (KindFilter, ("partner", AutocompleteSelectFilter))
    list_select_related = ("partner",)
    search_fields = ("partner__id", "subscription__id")
    search_help_text = "Id of a partner or a subscription"
    fieldsets = (
        (None, {"fields": (("what", "created"), ("of_partner", "of_subscription"), "title", "sent", "mailed")}),
        ("Data", {"fields": ("data_shown",)}),
    )
    readonly_fields = ("what", "created", "of_partner", "of_subscription", "sent", "mailed", "data_shown")

    created = time_column("created_at", "Time")
    of_partner = link_column("partner", "Partner")
    of_subscription = link_column("subscription", "Subscription")
    mailed = time_column("emailed_at", "E-mail", empty="none")

    @display(description="Kind")
    def what(self, event: OperationalEvent) -> SafeString:
        return badge(event.kind, _LOOKS.get(event.kind, ""))

    @display(description="Delivery to the operational URL")
    def sent(self, event: OperationalEvent) -> SafeString:
        delivery = Delivery.objects.filter(event=event.pk).first()
        return SafeString("none") if delivery is None else link(delivery, delivery.status)

    @display(description="Data")
    def data_shown(self, event: OperationalEvent) -> SafeString:
        return json_code(event.data)
