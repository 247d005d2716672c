"""Celery tasks that beat starts: reconciliation and housekeeping."""

import logging
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from celery import Task
from celery.exceptions import Ignore
from django.conf import settings
from django.db import close_old_connections, connection

from delivery import replay
from delivery.clocks import database_now
from delivery.idempotency import remove_old as remove_old_keys
from delivery.metrics.process import maintenance_succeeded
from delivery.operational import failing, mail, trouble
from delivery.operational.notify import notify
from delivery.passing import is_away
from delivery.reconcile import reconcile as run_reconciliation
from delivery.resolutions import roll_up as run_roll_up
from delivery.retention.places import kept_places
from delivery.retention.removal import Remover
from delivery.retention.rules import configured_archive, configured_rules
from delivery.retention.steps import remove_in_steps
from delivery.single_run import UnderWay, single_run
from partners.connections import bound_connection
from partners.trouble import Trouble
from recart_hooks.celery import app

logger = logging.getLogger(__name__)

_LONGEST_WAIT_S = 120.0
"""For the answer to each statement: sums of roll-ups and removals of old rows may take many seconds."""


class MaintenanceTask(Task):  # type: ignore[type-arg]
    """Runs once at a time over all workers: beat starts it whether or not the last run has ended. Counts its successes
    for Prometheus. A run during which a server is away is ignored; the next one does the rest."""

    def __init__(self) -> None:
        self._trouble = Trouble(logger, f"{self.name} waits for a server")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            bound_connection(_LONGEST_WAIT_S)
            with single_run(self.name):
                result = super().__call__(*args, **kwargs)
        except UnderWay:
            raise Ignore from None
        except Exception as error:
            if not is_away(error):
                raise
            self._trouble.met(error)
            raise Ignore from None
        self._trouble.over()
        return result

    def before_start(self, *args: Any, **kwargs: Any) -> None:
        close_old_connections()

    def after_return(self, *args: Any, **kwargs: Any) -> None:
        close_old_connections()

    def on_success(self, *args: Any, **kwargs: Any) -> None:
        maintenance_succeeded(self.name)


@app.task(base=MaintenanceTask, name="maintenance.reconcile", acks_late=False)
def reconcile() -> dict[str, Any]:
    """Queues deliveries that the broker lost."""
    done = run_reconciliation()
    return {"checked": done.checked, "queued": done.queued, "was_wiped": done.was_wiped}


@app.task(base=MaintenanceTask, name="maintenance.roll_up", acks_late=False)
def roll_up() -> int:
    """Sums roll-ups of minutes to coarser ones."""
    return run_roll_up(database_now())


@app.task(base=MaintenanceTask, name="maintenance.watch_failing", acks_late=False)
def watch_failing() -> dict[str, int]:
    """Notifies about subscriptions whose attempts all fail, and in the end disables them."""
    every_h = settings.TRIAL_EVERY_HOURS
    done = failing.watch_failing(
        database_now(),
        timedelta(seconds=settings.DISABLE_AFTER_S),
        timedelta(hours=every_h) if every_h else None,
    )
    return asdict(done)


@app.task(base=MaintenanceTask, name="maintenance.tell_of_trouble", acks_late=False)
def tell_of_trouble() -> dict[str, int]:
    """Stores operational events, delivers and mails them."""
    now = database_now()
    notices = trouble.all_trouble(
        now,
        quiet=timedelta(seconds=settings.OPERATIONAL_QUIET_S),
        bound=timedelta(seconds=settings.OPERATIONAL_BACKLOG_S),
        failing_quiet=timedelta(seconds=settings.DISABLE_AFTER_S),
    )
    told = notify(notices, now)
    return {"told": len(told), "mails": mail.send_mail(now, settings.OPERATIONAL_EMAILS)}


@app.task(base=MaintenanceTask, name="maintenance.run_replays", acks_late=False)
def run_replays() -> int:
    """Takes the next steps of running replays."""
    return replay.run_replays()


@app.task(base=MaintenanceTask, name="maintenance.remove_old_idempotency_keys", acks_late=False)
def remove_old_idempotency_keys() -> int:
    """Removes requests with an idempotency key that are older than a day."""
    return remove_old_keys()


@app.task(base=MaintenanceTask, name="maintenance.remove_old", acks_late=False)
def remove_old() -> dict[str, int]:
    """Removes rows older than their settings allow, for a few minutes at most."""
    with kept_places() as reached:
        return Remover(configured_archive(), reached=reached).run(configured_rules(), database_now())


@app.task(base=MaintenanceTask, name="maintenance.remove_old_results", acks_late=False, ignore_result=False)
def remove_old_results() -> int:
    """Removes old task results, a few thousand at a time, for a minute at most. Celery's own clean-up is one huge
    DELETE."""
    before = database_now() - timedelta(days=settings.RESULTS_KEPT_DAYS)

    def remove(at_most: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                DELETE FROM django_celery_results_taskresult WHERE id IN (
                    SELECT id FROM django_celery_results_taskresult WHERE date_done < %s LIMIT %s)
                """,
                [before, at_most],
            )
            return int(cursor.rowcount)

    return remove_in_steps(remove)
