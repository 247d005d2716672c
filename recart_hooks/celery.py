"""The Celery application.

Deliveries go through the fair broker, in a queue for each partner (`partner.<id>`, all consumed as `partner.*`).
Periodic tasks go to the ordinary queue `maintenance`.
"""

import os
import sys
from typing import Any

import django
from celery import Celery
from celery.signals import import_modules, setup_logging, worker_init
from django.apps import apps

from delivery.broker import register
from recart_hooks.checks import refuse_errors

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "recart_hooks.settings")
for _name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"):
    os.environ.pop(_name, None)  # Celery would prefer them to our settings, which the bridge uses

app = Celery("recart_hooks")
register(app)
app.config_from_object("recart_hooks.celery_config")
app.autodiscover_tasks(["delivery"], related_name="tasks")
app.autodiscover_tasks(["delivery"], related_name="maintenance")
app.steps["worker"].add("delivery.steps:MetricsStep")
app.steps["worker"].add("delivery.steps:PartsStep")
app.steps["consumer"].add("delivery.steps:ConnectionStep")
app.steps["consumer"].add("delivery.steps:FlowerStep")


@app.on_after_configure.connect
def set_up_django(**_: object) -> None:
    """For commands such as `celery call`, which import no tasks, but the result backend with its models."""
    if not apps.ready:
        django.setup()


@import_modules.connect(sender=app)
def check_settings(**_: object) -> None:
    """Runs when a worker, beat or Flower starts, once Django is set up."""
    refuse_errors()


@worker_init.connect
def fit_concurrency(sender: Any, **_: object) -> None:
    """Makes a worker take no more deliveries at once than it may open files for."""
    from delivery.pool import places  # noqa: PLC0415 - only workers need it

    sender.concurrency = places(sender.concurrency)


@worker_init.connect
def restrict_operators(sender: Any, **_: object) -> None:
    """Refuses what Celery offers and our workers cannot do."""
    from delivery import remote_control  # noqa: PLC0415 - only workers need it

    if sender.options.get("autoscale"):
        sys.exit("--autoscale: a worker keeps its size; use --concurrency")
    remote_control.restrict()


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Keeps Django's logging (settings.LOGGING): Celery configures none if this signal has a receiver."""
