"""The audit log: who changed what. Read-only for everybody."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import orjson
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from partners.admin.base import ReadOnlyAdmin, link_to
from partners.admin.columns import link_column, time_column
from partners.admin.keyset import KeysetAdmin
from partners.admin.list_filters import ConditionFilter, TimeRangeFilter
from partners.admin.looks import json_code, short
from partners.identifiers import AUDIT_ENTRY
from partners.made_at import made_between
from partners.models import AuditEntry


class ActorFilter(ConditionFilter):
    title = "who"
    parameter_name = "who"
    conditions: ClassVar = {kind: (label, Q(actor_kind=kind)) for kind, label in AuditEntry.ActorKind.choices}


class AtFilter(TimeRangeFilter):
    title = "made"
    name = "at"

    def condition(self, start: datetime | None, end: datetime | None) -> Q:
        return made_between(AUDIT_ENTRY, "at", start, end)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin[AuditEntry], KeysetAdmin[AuditEntry]):
    list_display = ("made", "who", "action", "subject", "of_partner", "what")
    list_filter = (ActorFilter, ("partner", AutocompleteSelectFilter), AtFilter)
    search_fields = ("subject_id",)
    search_help_text = "Id of what was changed"
    fieldsets = (
        (None, {"fields": (("made", "who"), ("action", "of_partner"), ("subject_type", "subject_page"), "request_id")}),
        ("Fields that changed", {"fields": ("before_shown", "after_shown")}),
    )
    readonly_fields = ("made", "who", "of_partner", "subject_page", "before_shown", "after_shown")

    made = time_column("at", "Made")
    of_partner = link_column("partner", "Partner")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        return super().get_queryset(request).prefetch_related("partner")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        term = search_term.strip()
        return (queryset.filter(subject_id__startswith=term) if term else queryset), False

    @display(description="Who")
    def who(self, entry: AuditEntry) -> str:
        kind, name = entry.get_actor_kind_display(), entry.actor_name or entry.actor_id
        return f"{kind} {name}" if entry.actor_kind == AuditEntry.ActorKind.KEY else name or kind

    @display(description="Subject")
    def subject(self, entry: AuditEntry) -> SafeString:
        return short(entry.subject_id)

    @display(description="Subject id")
    def subject_page(self, entry: AuditEntry) -> SafeString | str:
        """Links to the page of the subject, which may be of another app."""
        pages = {model._meta.model_name: model for model in self.admin_site._registry}
        model = pages.get(entry.subject_type)
        return entry.subject_id if model is None else link_to(model, entry.subject_id, entry.subject_id)

    @display(description="Fields")
    def what(self, entry: AuditEntry) -> str:
        names = list(dict.fromkeys([*entry.before, *entry.after]))
        return ", ".join(names[:4]) + (" …" if len(names) > 4 else "") or "-"

    @display(description="Before")
    def before_shown(self, entry: AuditEntry) -> SafeString:
        return _fields(entry.before)

    @display(description="After")
    def after_shown(self, entry: AuditEntry) -> SafeString:
        return _fields(entry.after)


def _fields(values: Mapping[str, Any]) -> SafeString:
    return json_code(orjson.dumps(values).decode()) if values else SafeString("-")
