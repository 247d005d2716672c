"""Task results that Celery stored: failed tasks, and the results of removing old ones.

Arguments are not shown, because the delivery log has a page with more about the delivery of a task.
"""

from typing import Any, ClassVar

import orjson
from django.contrib import admin
from django.db.models import Q
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django_celery_results.models import GroupResult, TaskResult
from unfold.decorators import display

from delivery.models import Delivery
from partners.admin.base import ReadOnlyAdmin, link_to
from partners.admin.columns import time_column
from partners.admin.keyset import KeysetAdmin
from partners.admin.list_filters import ConditionFilter
from partners.admin.looks import Kind, badge, code, short
from partners.identifiers import DELIVERY

admin.site.unregister(TaskResult)
admin.site.unregister(GroupResult)

_KINDS: dict[str, Kind] = {"SUCCESS": "success", "FAILURE": "danger", "RETRY": "warning", "REVOKED": "warning"}


class StatusFilter(ConditionFilter):
    title = "status"
    parameter_name = "status"
    conditions: ClassVar = {
        "failed": ("Failed", Q(status="FAILURE")),
        "succeeded": ("Succeeded", Q(status="SUCCESS")),
    }


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin[Any], KeysetAdmin[Any]):
    list_display = ("task_name", "state", "outcome", "of_delivery", "worker", "done_at")
    list_filter = (StatusFilter,)
    search_fields = ("task_id__startswith", "task_name__startswith")
    search_help_text = "Beginning of a task's id (a delivery's id) or name"
    fieldsets = (
        (None, {"fields": (("task_name", "state"), ("of_delivery", "worker"), ("done_at", "task_id"))}),
        ("Result", {"fields": ("outcome", "trace")}),
    )
    readonly_fields = ("state", "outcome", "of_delivery", "done_at", "trace")

    done_at = time_column("date_done", "Done")

    @display(description="Status")
    def state(self, result: Any) -> SafeString:
        return badge(result.status.capitalize(), _KINDS.get(result.status, ""))

    @display(description="Outcome")
    def outcome(self, result: Any) -> str:
        return Truncator(_result_text(result.result)).chars(200)

    @display(description="Delivery")
    def of_delivery(self, result: Any) -> SafeString:
        delivery_id, _, attempt = result.task_id.partition(":")
        if not delivery_id.startswith(f"{DELIVERY}_"):
            return SafeString("-")
        delivery = link_to(Delivery, delivery_id, short(delivery_id))
        return format_html("{} attempt {}", delivery, attempt.partition(":")[0])

    @display(description="Traceback")
    def trace(self, result: Any) -> SafeString:
        return code(result.traceback) if result.traceback else SafeString("-")


def _result_text(result: str | None) -> str:
    """The exception's message, or what the task returned."""
    try:
        value = orjson.loads(result or "null")
    except orjson.JSONDecodeError:
        return result or ""
    if isinstance(value, dict) and "exc_type" in value:
        messages = value.get("exc_message") or []
        return f"{value['exc_type']}: {' '.join(map(str, messages)) if isinstance(messages, list) else messages}"
    return "-" if value is None else orjson.dumps(value).decode()
