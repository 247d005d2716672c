# mypy: disable-error-code="no-untyped-call, attr-defined"
"""Passes the messages of delivery tasks to the pipeline, or those of fan-outs to delivery.fan_outs, so that Celery does
not run a task for each.

A strategy (`Task.Strategy`) is Celery's hook for this. Celery still runs the task if its delivery raised an error, so
that it is a failed task; if a newer release sent the message, or it has other arguments; if the message is not of a
fair queue; and in all cases if the pool is not ours.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, Task
from celery.worker import state
from celery.worker.strategy import default

from delivery.errors import Postponed
from delivery.fan_outs import FanOutMessage, FanOuts
from delivery.pool import WorkerExecutor
from delivery.publish import VERSION
from delivery.stages import DeliveryMessage
from delivery.worker import worker

logger = logging.getLogger(__name__)

Handler = Callable[[Any, Any, Any, Any, Any], Any]


def pipelined(
    task: Task[Any, Any], app: Celery, consumer: Any, celerys_own: Callable[..., Handler] = default
) -> Handler:
    """The strategy. Celery calls it for each connection to the broker; the process keeps its pipeline."""
    by_celery = celerys_own(task, app, consumer)
    executor = getattr(consumer.pool, "executor", None)
    if not isinstance(executor, WorkerExecutor):
        return by_celery
    pipeline = executor.pipeline = executor.pipeline or worker().pipeline(executor.turns)
    fan_outs = executor.fan_outs = executor.fan_outs or FanOuts(executor.turns)

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> Any:
        headers, arguments = message.headers, _arguments(message)
        is_fair = hasattr(message, "put_off")
        if arguments is None or not is_fair or is_newer(headers):
            return by_celery(message, body, ack, reject, callbacks)
        acknowledge = partial(_acknowledge, ack, consumer.connection_errors)
        if len(arguments) == 1:
            settle_fan_out = partial(_settle_fan_out, message, acknowledge)
            queue = message.delivery_info["routing_key"]
            fan_outs.take(FanOutMessage(*arguments, queue, settle_fan_out, message.delivery_tag))
            return None
        run_by_celery = partial(by_celery, message, body, ack, reject, callbacks)
        settle = partial(_settle, message, acknowledge, run_by_celery)
        message.waits()
        pipeline.take(DeliveryMessage(*arguments, settle, message.delivery_tag, message.is_awaited, message.begins))
        return None

    return handle


def _acknowledge(ack: Callable[[Any, Any], object], errors: Any) -> None:
    state.all_total_count[0] += 1
    ack(logger, errors)


def _settle(
    message: Any, acknowledge: Callable[[], object], run_by_celery: Callable[[], object], error: Exception | None
) -> None:
    task_id = message.headers["id"]
    if error is None:
        acknowledge()
    elif isinstance(error, Postponed):
        message.put_off(error.until - time.time())
    else:
        endings[task_id] = error
        try:
            run_by_celery()
        except RuntimeError:  # the pool ends: the message returns, and a worker finds its delivery ended
            logger.info("left to another worker", extra={"task_id": task_id})
            endings.pop(task_id, None)


def _settle_fan_out(message: Any, acknowledge: Callable[[], object], delay_s: float | None) -> None:
    if delay_s is None:
        acknowledge()
    else:
        message.put_off(delay_s)


endings: dict[str, Exception] = {}
"""The pipeline's errors, by task id, for the tasks that Celery runs next: they raise them."""


def is_newer(headers: Any) -> bool:
    """Whether a newer release sent the message. A version of an unknown form counts as newer."""
    version = headers.get("message_version", VERSION)
    return not isinstance(version, int) or version > VERSION


def _arguments(message: Any) -> tuple[str, int] | tuple[str] | None:
    """The delivery's id and the attempt's number, or the fan-out's id; None if the message has other arguments."""
    payload = message.payload
    if isinstance(payload, (list, tuple)):
        match payload[0]:
            case [str() as delivery_id, int() as attempt]:
                return delivery_id, attempt
            case [str() as fan_out_id]:
                return (fan_out_id,)
    return None
