"""Celery tasks that beat starts: reconciliation and housekeeping. Results are kept, so that staff see them run."""

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Task
from django.conf import settings
from django.db import connection

from delivery.metrics.process import maintained
from delivery.reconcile import reconcile as run_reconciliation
from delivery.rollups import roll_hours as run_hours
from recart_hooks.celery import app

_RESULTS_PER_STEP = 5_000


class MaintenanceTask(Task):  # type: ignore[type-arg]
    """Tells Prometheus when it last ended well."""

    def on_success(self, *args: Any, **kwargs: Any) -> None:
        maintained(self.name)


@app.task(base=MaintenanceTask, name="maintenance.reconcile", acks_late=False)
def reconcile() -> dict[str, Any]:
    """Queues what the broker has lost."""
    done = run_reconciliation()
    return {"checked": done.checked, "queued": done.queued, "was_wiped": done.was_wiped}


@app.task(base=MaintenanceTask, name="maintenance.roll_hours", acks_late=False)
def roll_hours() -> int:
    """Makes hours out of minutes."""
    return run_hours(datetime.now(UTC))


@app.task(base=MaintenanceTask, name="maintenance.remove_old_results", acks_late=False, ignore_result=False)
def remove_old_results() -> int:
    """Removes task results past their age, a few thousand at a time; Celery's own clean-up is one huge DELETE."""
    before = datetime.now(UTC) - timedelta(days=settings.RESULTS_KEPT_DAYS)
    removed = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                DELETE FROM django_celery_results_taskresult WHERE id IN (
                    SELECT id FROM django_celery_results_taskresult WHERE date_done < %s LIMIT %s)
                """,
                [before, _RESULTS_PER_STEP],
            )
            removed += int(cursor.rowcount)
            if cursor.rowcount < _RESULTS_PER_STEP:
                return removed
