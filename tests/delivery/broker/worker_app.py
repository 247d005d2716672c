"""The Celery application of the tests' workers. Each run of a task writes a line to the file RUNS.

A line: task, first argument, process, time of the start, queue, whether it was redelivered.
"""

import os
import time
from typing import Any

from celery import Celery
from celery.app.task import Task
from kombu import Queue

from delivery.broker import register

app = Celery("fair-tests")
register(app)
app.conf.update(
    broker_url=os.environ["BROKER_URL"],
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "fair_dead_after_s": float(os.environ.get("DEAD_AFTER_S", "10")),
        "health_check_interval": float(os.environ.get("HEALTH_CHECK_S", "25")),
        "socket_timeout": float(os.environ.get("SOCKET_TIMEOUT_S", "10")),
        "master_name": os.environ.get("BROKER_MASTER_NAME"),
    },
    task_queues=[Queue("partner.*", routing_key="partner.*"), Queue("plain", routing_key="plain")],
    task_default_queue="plain",
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=int(os.environ.get("MULTIPLIER", "1")),
    worker_disable_rate_limits=True,
    worker_enable_prefetch_count_reduction=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)


def note(task: Task[Any, Any], word: str, value: object) -> None:
    info = task.request.delivery_info or {}
    line = f"{word} {value} {os.getpid()} {time.time():.6f} {info.get('routing_key')} {info.get('redelivered')}\n"
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(line)


@app.task(name="note", bind=True)
def noted(self: Task[Any, Any], value: object) -> None:
    note(self, "ran", value)


@app.task(name="slow", bind=True)
def slow(self: Task[Any, Any], value: object, seconds: float) -> None:
    note(self, "started", value)
    time.sleep(seconds)
    note(self, "ran", value)


@app.task(name="retried", bind=True, max_retries=5)
def retried(self: Task[Any, Any], value: object, countdown: float) -> None:
    note(self, "ran", value)
    if self.request.retries < 1:
        raise self.retry(countdown=countdown)
