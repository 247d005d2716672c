"""Replays: their progress, and canceling them.

They are started from a subscription's page, by the API or by `manage.py replay`.
"""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display

from delivery.models import ReplayJob
from delivery.replay import cancel_replay
from partners.admin.base import DialogForm, ReadOnlyAdmin
from partners.admin.columns import id_column, link_column, time_column
from partners.admin.dialog import dialog
from partners.admin.keyset import KeysetAdmin
from partners.admin.looks import Kind, badge

_LOOKS: dict[str, Kind] = {"running": "info", "done": "success", "canceled": "", "failed": "danger"}


@admin.register(ReplayJob)
class ReplayJobAdmin(ReadOnlyAdmin[ReplayJob], KeysetAdmin[ReplayJob]):
    list_display = ("created", "state", "progress", "what", "of_partner", "of_subscription", "short_id")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("partner", AutocompleteSelectFilter),
        ("subscription", AutocompleteSelectFilter),
    )
    list_select_related = ("partner", "subscription")
    search_fields = ("id__startswith",)
    search_help_text = "Id of a replay, or its beginning"
    fieldsets = (
        (None, {"fields": (("state", "progress"), ("of_partner", "of_subscription"), "what", "reason")}),
        ("Events", {"fields": (("from_", "to"),)}),
        ("Record", {"fields": (("created", "finished"),)}),
    )
    readonly_fields = (
        "state", "progress", "of_partner", "of_subscription", "what", "from_", "to", "created", "finished",
    )  # fmt: skip
    actions_detail: ClassVar = ("cancel",)

    short_id = id_column()
    of_partner = link_column("partner", "Partner")
    of_subscription = link_column("subscription", "Subscription")
    created = time_column("created_at", "Started")
    finished = time_column("finished_at", "Ended")
    from_ = time_column("since", "Received from")
    to = time_column("until", "To")

    def has_cancel_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("delivery.change_replayjob")

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Only running replays can be canceled."""
        if not ReplayJob.objects.filter(pk=object_id, status=ReplayJob.Status.RUNNING).exists():
            return []
        return super().get_actions_detail(request, object_id)  # type: ignore[misc,no-any-return]  # Unfold's

    @display(description="State")
    def state(self, job: ReplayJob) -> SafeString:
        return badge(job.get_status_display(), _LOOKS[job.status], job.reason)

    @display(description="What")
    def what(self, job: ReplayJob) -> str:
        return job.get_mode_display()

    @display(description="Progress")
    def progress(self, job: ReplayJob) -> SafeString:
        """The total is an estimate if the replay evaluates a filter, and more may have come after it was counted. So it
        is not shown once all is queued."""
        is_done = job.status == ReplayJob.Status.DONE
        about = "" if job.is_total_exact else "about "
        total = "many" if job.counted is None else f"{about}{job.counted:,}"
        share = 100 if is_done else 100 * (job.queued + job.skipped) / max(job.total, 1)
        return format_html(
            '<progress class="rh-progress" max="100" value="{}"></progress> {}{} queued{}',
            f"{min(share, 100):.0f}",
            f"{job.queued:,}",
            "" if is_done else f" of {total}",
            f", {job.skipped:,} left out" if job.skipped else "",
        )

    @dialog(
        "Cancel",
        "stop_circle",
        title="Cancel this replay",
        text="It queues nothing more. Deliveries that it has queued are still sent.",
        submit="Cancel the replay",
        permissions=["cancel"],
    )
    def cancel(self, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
        job = self.wanted(request, object_id)
        if not cancel_replay(job):
            return self.refused(request, job, "This replay has ended already.")
        return self.done(request, job, "Canceled.")
