"""The Celery application.

Deliveries go through the fair broker in per-partner queues (`partner.<id>`, all consumed as `partner.*`); what has
to be done now and then goes to the ordinary queue `maintenance`.
Celery's own rate limits are off: the broker's are exact.
"""

import os

from celery import Celery
from celery.signals import setup_logging

from delivery.broker import register

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


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Django has set it up (settings.LOGGING); Celery, given a receiver of this signal, does not change it."""
