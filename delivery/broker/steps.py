# mypy: disable-error-code="no-untyped-call, misc, attr-defined, union-attr"
"""What a Celery worker does better with fair queues than without: `register(app)` adds it to the workers of `app`."""

import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.exceptions import InvalidTaskError
from celery.worker import state
from kombu.exceptions import ContentDisallowed, DecodeError

from delivery.broker.received import Received

ACCEPTANCE_S = 0.05
"""A thread that has taken a task from the pool's queue says so within this time."""


class FairStep(bootsteps.StartStopStep):
    """Acknowledgements go straight to the leases, not through the event loop; a worker that stops gives back at once
    what it has not started."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, c: Any) -> None:
        c.create_task_handler = task_handler_for(c, type(c).create_task_handler)

    def stop(self, c: Any) -> None:
        """Also called when the connection broke; then nothing is to be given back."""
        channel = getattr(c.task_consumer, "channel", None)
        leases = getattr(channel, "leases", None)
        if leases is None or c.blueprint.state == bootsteps.RUN:
            return
        leases.stays_until_exit = True
        channel.stop_intake()
        if (executor := getattr(c.pool, "executor", None)) is None:
            return  # only threads can be kept from starting what they were given
        executor.shutdown(wait=False, cancel_futures=True)
        time.sleep(ACCEPTANCE_S)
        started = {request.message.delivery_tag for request in tuple(state.active_requests)}
        started.update(getattr(executor, "begun", ()))  # what a strategy of the application's runs itself
        leases.give_back([lease for lease in tuple(leases.held) if lease not in started])


def task_handler_for(c: Any, default: Callable[[Any], Callable[[Any], Any]]) -> Callable[[], Callable[[Any], Any]]:
    """Celery wraps each acknowledgement in three objects that carry it to the event loop. Ours need none of that."""

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
