"""The Celery task of a delivery. Each attempt is a task; a retry is a new message, which the broker delays."""

import time
from numbers import Real
from typing import Any, NoReturn, cast

from celery import Task
from celery.exceptions import Ignore, Retry

from delivery import publish
from delivery.deliver import deliver as make_delivery
from delivery.errors import DeliveryDead, Postponed, TryLater
from delivery.fan_out import make_all
from delivery.flower_feed import flower_feed
from delivery.strategy import endings, is_newer
from delivery.worker import hold_back, put_off, queue_retries, worker
from recart_hooks.celery import app

PARKED_S = 30.0


class DeliveryTask(Task):  # type: ignore[type-arg]
    """A task whose retries are due when delivery.retries says so, with backoff, jitter and Retry-After, instead of
    Celery's autoretry: PostgreSQL must have the time before the broker does."""

    Strategy = "delivery.strategy:pipelined"
    """In our workers the pipeline makes the deliveries, and Celery runs the tasks of those that raised an error."""

    def retry(self, *args: Any, **kwargs: Any) -> NoReturn:
        exc = kwargs.get("exc")
        if not isinstance(exc, TryLater):
            raise super().retry(*args, **kwargs)
        queue_retries([exc.due])
        raise Retry(str(exc), exc, cast("Real", exc.due.due_at or 0.0))

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        if not isinstance(exc, DeliveryDead):  # a dead delivery has a record, from which Flower gets its event
            flower_feed().task_failed(task_id, repr(exc)[:500])
        exc.__traceback__ = None  # its frames lead back to it: a megabyte that would wait for the collector


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
def deliver(self: DeliveryTask, *arguments: Any) -> None:
    """Makes an attempt, unless it was made already. The arguments are the delivery's id and the attempt's number. With
    the id of a fan-out alone, makes its deliveries.

    A newer release's message is parked: put back for PARKED_S, until a worker of that release takes it.
    """
    request = self.request
    queue_name, task_id = str((request.delivery_info or {}).get("routing_key")), str(request.id)
    if (ending := endings.pop(task_id, None)) is not None:
        raise ending
    if is_newer(request):
        put_off(queue_name, task_id, time.time() + PARKED_S)
        raise Ignore
    if len(arguments) == 1:
        make_all(*arguments)
        return
    delivery_id, attempt = arguments
    try:
        make_delivery(delivery_id, attempt, worker().tools)
    except Postponed as postponed:
        put_off(queue_name, task_id, postponed.until)
        hold_back([postponed])
        raise Ignore from None
