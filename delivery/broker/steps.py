# mypy: disable-error-code="no-untyped-call, misc, attr-defined, union-attr"
"""A worker's bootstep for fair queues. `register(app)` adds it to the workers of `app`."""

import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.exceptions import InvalidTaskError
from celery.worker import state
from kombu.exceptions import ContentDisallowed, DecodeError

from delivery.broker.received import Received

ACCEPTANCE_S = 0.05
"""A pool thread that took a task has marked it as active within this time."""


class FairStep(bootsteps.StartStopStep):
    """Passes acknowledgements straight to the leases, not through the event loop. When the worker stops, returns the
    messages at once whose tasks have not started."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        c.create_task_handler = task_handler_for(c, type(c).create_task_handler)

    def stop(self, c: Any) -> None:
        """Celery also calls this when the connection broke: then nothing is given back."""
        channel = getattr(c.task_consumer, "channel", None)
        leases = getattr(channel, "leases", None)
        if leases is None or c.blueprint.state == bootsteps.RUN:
            return
        leases.stays_until_exit = True
        channel.stop_intake()
        if (executor := getattr(c.pool, "executor", None)) is None:
            return  # only a pool of threads can cancel tasks that it has queued
        executor.shutdown(wait=False, cancel_futures=True)
        time.sleep(ACCEPTANCE_S)
        started = {request.message.delivery_tag for request in tuple(state.active_requests)}
        started.update(getattr(executor, "begun", ()))  # tasks that the application's own strategy runs
        leases.give_back([lease for lease in tuple(leases.held) if lease not in started])


def task_handler_for(c: Any, default: Callable[[Any], Callable[[Any], Any]]) -> Callable[[], Callable[[Any], Any]]:
    """Celery's handler without the three objects per message that carry its acknowledgement to the event loop."""

    def create_task_handler() -> Callable[[Any], Any]:
        handle_other = default(c)

        def on_task_received(message: Any) -> Any:
            strategy = c.strategies.get(message.headers.get("task")) if isinstance(message, Received) else None
            if strategy is None:
                return handle_other(message)
            try:
                return strategy(message, None, message.ack_log_error, message.reject_log_error, c.on_task_message)
            except (InvalidTaskError, ContentDisallowed) as error:
                return c.on_invalid_task(None, message, error)
            except DecodeError as error:
                return c.on_decode_error(message, error)

        return on_task_received

    return create_task_handler
