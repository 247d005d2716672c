"""The Celery tasks of partners' queues. Each attempt of a delivery is a task; a retry is a new message, which the
broker delays."""

import logging
import time
from numbers import Real
from typing import Any, NoReturn, cast

from celery import Task
from celery.exceptions import Ignore, Retry

from delivery import publish
from delivery.deliver import deliver as make_delivery
from delivery.errors import DeliveryDead, Postponed, TryLater
from delivery.fan_out import fan_out as make_next_deliveries
from delivery.flower_feed import flower_feed
from delivery.passing import is_away
from delivery.strategy import endings, is_newer
from delivery.worker import hold_back, put_off, queue_retries, worker
from partners.trouble import Trouble
from recart_hooks.celery import app

PARKED_S = 30.0
REST_S = 0.0001
"""Enough for the thread of the deliveries to take Python's GIL."""
_waiting = Trouble(logging.getLogger(__name__), "deliveries to partners with many subscriptions wait for a server")


class DeliveryTask(Task):  # type: ignore[type-arg]
    """A task whose retries are due when delivery.retries says so, with backoff, jitter and Retry-After, instead of
    Celery's autoretry: PostgreSQL must have the time before the broker does."""

    Strategy = "delivery.strategy:pipelined"
    """In our workers the pipeline makes the deliveries, and Celery runs the tasks of those that failed."""

    def retry(self, *args: Any, **kwargs: Any) -> NoReturn:
        exc = kwargs.get("exc")
        if not isinstance(exc, TryLater):
            raise super().retry(*args, **kwargs)
        queue_retries([exc.due])
        raise Retry(str(exc), exc, cast("Real", exc.due.due_at or 0.0))

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        if not isinstance(exc, DeliveryDead):  # a dead delivery has a record, from which Flower gets its event
            flower_feed().task_failed(task_id, repr(exc)[:500])


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
    """Makes an attempt, unless it was made already. The arguments are the delivery's id and the attempt's number.

    A newer release's message is parked: put back for PARKED_S, until a worker of that release takes it.
    """
    request = self.request
    queue_name, task_id = str((request.delivery_info or {}).get("routing_key")), str(request.id)
    if (ending := endings.pop(task_id, None)) is not None:
        raise ending
    if is_newer(request):
        put_off(queue_name, task_id, time.time() + PARKED_S)
        raise Ignore
    delivery_id, attempt = arguments
    try:
        make_delivery(delivery_id, attempt, worker().tools)
    except Postponed as postponed:
        put_off(queue_name, task_id, postponed.until)
        hold_back([postponed])
        raise Ignore from None


@app.task(
    bind=True,
    name=publish.FAN_OUT,
    acks_late=True,
    ignore_result=True,
    store_errors_even_if_ignored=True,
)
def fan_out(self: "Task[Any, Any]", fan_out_id: str) -> None:
    """Makes the next deliveries of a fan-out; as long as there are more, the message goes back to its queue's end."""
    began = time.monotonic()
    try:
        has_more = make_next_deliveries(fan_out_id, lambda: time.sleep(REST_S))
    except Exception as error:
        if not is_away(error):
            raise
        _waiting.met(error)  # reconciliation queues it again
        raise Ignore from None
    finally:
        time.sleep(time.monotonic() - began)
    _waiting.over()
    if has_more:
        queue_name = str((self.request.delivery_info or {}).get("routing_key"))
        put_off(queue_name, str(self.request.id), time.time())
        raise Ignore
