# mypy: disable-error-code="no-untyped-call, attr-defined"
"""Passes the messages of delivery tasks to the pipeline, so that Celery does not run a task for each.

A strategy (`Task.Strategy`) is Celery's hook for this. Celery still runs the task if its delivery ended dead or raised
an error, so that it is a failed task; if it was revoked; if a newer release sent the message, or it has other
arguments; if the message is not of a fair queue; and in all cases if the pool is not ours.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.worker import state
from celery.worker.strategy import default

from delivery.errors import Postponed
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
    revoked = consumer.controller.state.revoked

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> Any:
        headers, arguments = message.headers, _arguments(message)
        is_fair = hasattr(message, "put_off")
        if arguments is None or not is_fair or is_newer(headers) or headers["id"] in revoked:
            return by_celery(message, body, ack, reject, callbacks)

        def settle(error: Exception | None) -> None:
            if error is None:
                state.all_total_count[0] += 1
                ack(logger, consumer.connection_errors)
            elif isinstance(error, Postponed):
                message.put_off(error.until - time.time())
            else:
                endings[headers["id"]] = error
                try:
                    by_celery(message, body, ack, reject, callbacks)
                except RuntimeError:  # the pool ends: the message returns, and a worker finds its delivery ended
                    logger.info("left to another worker", extra={"task_id": headers["id"]})
                    endings.pop(headers["id"], None)

        pipeline.take(DeliveryMessage(*arguments, settle, message.delivery_tag, message.is_awaited))
        return None

    return handle


endings: dict[str, Exception] = {}
"""The pipeline's errors, by task id, for the tasks that Celery runs next: they raise them."""


def is_newer(headers: Any) -> bool:
    """Whether a newer release sent the message. A version of an unknown form counts as newer."""
    version = headers.get("message_version", VERSION)
    return not isinstance(version, int) or version > VERSION


def _arguments(message: Any) -> tuple[str, int] | None:
    """The delivery's id and the attempt's number; None if the message has other arguments."""
    payload = message.payload
    if isinstance(payload, (list, tuple)):
        match payload[0]:
            case [str() as delivery_id, int() as attempt]:
                return delivery_id, attempt
    return None
