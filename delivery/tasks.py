"""The Celery task of a delivery. One task per attempt; a retry is a new message with its time in the broker."""

import logging
import time
from numbers import Real
from typing import Any, NoReturn, cast

from celery import Task
from celery.app.task import Context
from celery.exceptions import Ignore, Retry

from delivery import publish
from delivery.database import in_database
from delivery.deliver import deliver as make_delivery
from delivery.errors import DeliveryDead, Postponed, TryLater
from delivery.flower_feed import flower_feed
from delivery.limits import hold_back
from delivery.metrics.process import broker_failed
from delivery.passing import Trouble
from delivery.worker import worker
from recart_hooks.celery import app

logger = logging.getLogger(__name__)

PARKED_S = 30.0
_not_queued = Trouble(logger, "deliveries are queued later")


class DeliveryTask(Task):  # type: ignore[type-arg]
    """Celery's autoretry ends here: the time comes from the delivery's schedule (delivery.retries), where exponential
    backoff, jitter and Retry-After are, because PostgreSQL must know it before the broker does."""

    takes_turns = True
    """See delivery.pool: what blocks is offloaded."""

    def retry(self, *args: Any, **kwargs: Any) -> NoReturn:
        exc = kwargs.get("exc")
        if not isinstance(exc, TryLater):
            raise super().retry(*args, **kwargs)
        try:
            worker().publisher.submit(exc.due)
        except publish.BrokerUnavailable as error:  # it is in PostgreSQL; reconciliation queues it
            broker_failed("retry")
            _not_queued.met(error)
        else:
            _not_queued.over()
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
    if self.request.get("message_version", publish.VERSION) > publish.VERSION:
        in_database(_put_off, self.request, Postponed(time.time() + PARKED_S))
        raise Ignore
    delivery_id, attempt = told
    try:
        make_delivery(delivery_id, attempt, worker().tools)
    except Postponed as postponed:
        in_database(_put_off, self.request, postponed)
        raise Ignore from None


def _put_off(request: Context, postponed: Postponed) -> None:
    try:
        publish.postpone(request, postponed.until)
        if postponed.subscription_id:
            hold_back(postponed.partner_id, postponed.subscription_id, postponed.until)
    except publish.BrokerUnavailable as error:
        broker_failed("postpone")
        _not_queued.met(error)
