"""The Celery task of a delivery. One task per attempt; a retry is a new message with its time in the broker."""

import time
from numbers import Real
from typing import Any, NoReturn, cast

from celery import Task
from celery.exceptions import Ignore, Retry

from delivery import publish
from delivery.deliver import deliver as make_delivery
from delivery.errors import DeliveryDead, Postponed, TryLater
from delivery.flower_feed import flower_feed
from delivery.strategy import endings, is_newer
from delivery.worker import hold_back, put_off, queue, worker
from recart_hooks.celery import app

PARKED_S = 30.0


class DeliveryTask(Task):  # type: ignore[type-arg]
    """Celery's autoretry ends here: the time comes from the delivery's schedule (delivery.retries), where exponential
    backoff, jitter and Retry-After are, because PostgreSQL must know it before the broker does."""

    Strategy = "delivery.strategy:pipelined"
    """In our workers, many deliveries are made at a time, and Celery runs what failed."""

    def retry(self, *args: Any, **kwargs: Any) -> NoReturn:
        exc = kwargs.get("exc")
        if not isinstance(exc, TryLater):
            raise super().retry(*args, **kwargs)
        queue([exc.due])
        raise Retry(str(exc), exc, cast("Real", exc.due.due_at or 0.0))

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        if not isinstance(exc, DeliveryDead):  # a dead delivery was recorded, and Flower is told of what is recorded
            flower_feed().broke(task_id, repr(exc)[:500])


@app.task(
    bind=True,
    base=DeliveryTask,
    name=publish.TASK,
    autoretry_for=(TryLater,),
    max_retries=None,
    throws=(DeliveryDead,),
    send_events=False,  # delivery.flower_feed does it, at a hundredth of the cost
    acks_late=True,
    ignore_result=True,
    store_errors_even_if_ignored=True,
)
def deliver(self: DeliveryTask, *told: Any) -> None:
    """Told a delivery's id and the number of an attempt (from 1), makes the attempt, unless it was made already.

    A message of a newer release is parked: put back for a while, until a worker that can read it comes by.
    """
    request = self.request
    queue_name, task_id = str((request.delivery_info or {}).get("routing_key")), str(request.id)
    if (ending := endings.pop(task_id, None)) is not None:
        raise ending
    if is_newer(request):
        put_off(queue_name, task_id, time.time() + PARKED_S)
        raise Ignore
    delivery_id, attempt = told
    try:
        make_delivery(delivery_id, attempt, worker().tools)
    except Postponed as postponed:
        put_off(queue_name, task_id, postponed.until)
        hold_back([postponed])
        raise Ignore from None
