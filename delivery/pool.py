# mypy: disable-error-code="misc"
"""The pool of our Celery workers: threads for tasks that Celery runs, and one thread in which deliveries take turns."""

import logging
import resource
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from celery.concurrency import thread

from delivery.publish import FAN_OUT, TASK
from delivery.turns import Turns

if TYPE_CHECKING:  # Celery makes its pool before Django is set up
    from delivery.pipeline import Pipeline


logger = logging.getLogger(__name__)

_FOR_DELIVERIES = 4
"""Threads for deliveries that Celery runs, most of which ended dead and are stored as failures. Until then they count
against their partner's cap, so they must not wait for maintenance tasks, which may hang on a mail server or on
PostgreSQL."""
_FOR_MAINTENANCE = 8
"""Threads for the maintenance tasks, one for each: no task runs twice at the same time. Each thread may open a
connection to PostgreSQL."""
_FOR_FAN_OUTS = 1
"""One thread, because this is work for the processor, which deliveries need as well."""
_OTHER_FILES = 1000
"""Files that a worker has open beside its requests: idle connections to endpoints, connections to servers, pipes."""


class WorkerExecutor(ThreadPoolExecutor):
    """The threads for deliveries. It owns those for fan-outs and maintenance and the thread of `turns`, too."""

    def __init__(self, limit: int) -> None:
        super().__init__(_FOR_DELIVERIES, "celery-deliveries")
        self.maintenance = ThreadPoolExecutor(_FOR_MAINTENANCE, "celery-maintenance")
        self.fan_outs = ThreadPoolExecutor(_FOR_FAN_OUTS, "celery-fan-outs")
        self.turns = Turns("deliveries", helpers=limit)
        self.turns.start()
        self.pipeline: Pipeline | None = None
        """Made by delivery.strategy when the worker connects to the broker."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Runs Celery's tracer. The first of its arguments is the task's name."""
        _, (name, *_), *_ = args
        submits = {TASK: super().submit, FAN_OUT: self.fan_outs.submit}
        return submits.get(name, self.maintenance.submit)(fn, *args, **kwargs)

    @property
    def begun(self) -> Collection[Any]:
        """The delivery tags of messages that the pipeline is processing, which Celery does not know."""
        return () if self.pipeline is None else [message.tag for message in tuple(self.pipeline.begun)]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.turns.refuse()
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.fan_outs.shutdown(wait, cancel_futures=cancel_futures)
        self.maintenance.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self.turns.stop()


class TaskPool(thread.TaskPool):
    """Celery's pool. `limit` is how many messages the worker may have at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allow_open_files(self.limit + _OTHER_FILES)
        self.executor = WorkerExecutor(self.limit)


def allow_open_files(count: int) -> None:
    """Raises this process' soft limit of open files if it may: often that is 1,024, on macOS 256. A request without a
    socket would look like one that its endpoint refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if allowed < count:
        logger.warning("too few open files allowed for WORKER_CONCURRENCY", extra={"allowed": hard, "wanted": count})
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    except (OSError, ValueError) as error:  # macOS has another limit, even where the hard limit is infinite
        logger.warning("the limit of open files cannot be raised", extra={"allowed": soft, "error": str(error)})
