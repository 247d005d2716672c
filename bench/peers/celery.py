"""The peers' Celery application: the stock Redis transport and django-db results."""

import os

from celery import Celery

app = Celery("peer", broker=os.environ["BROKER_URL"], backend="django-db")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
app.autodiscover_tasks()
