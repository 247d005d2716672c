"""The Celery application.

Deliveries go through the fair broker, in a queue for each partner (`partner.<id>`, all consumed as `partner.*`).
Periodic tasks go to the ordinary queue `maintenance`.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import import_modules, setup_logging, worker_init

from delivery.broker import register
from recart_hooks.checks import refuse_errors

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")

app = Celery("recart_hooks")
register(app)
app.config_from_object("recart_hooks.celery_config")
app.autodiscover_tasks(["delivery"], related_name="tasks")
app.autodiscover_tasks(["delivery"], related_name="maintenance")
app.steps["worker"].add("delivery.steps:MetricsStep")
app.steps["worker"].add("delivery.steps:PartsStep")
app.steps["consumer"].add("delivery.steps:ConnectionStep")
app.steps["consumer"].add("delivery.steps:FlowerStep")


@import_modules.connect(sender=app)
def check_settings(**_: object) -> None:
    """Runs when a worker, beat or Flower starts, once Django is set up."""
    refuse_errors()


@worker_init.connect
def fit_concurrency(sender: Any, **_: object) -> None:
    """Makes a worker take no more deliveries at once than it may open files for."""
    from delivery.pool import places  # noqa: PLC0415 - only workers need it

    sender.concurrency = places(sender.concurrency)


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Keeps Django's logging (settings.LOGGING): Celery configures none if this signal has a receiver."""
