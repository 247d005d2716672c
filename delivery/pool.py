# mypy: disable-error-code="misc"
"""The pool of our Celery workers: threads for tasks that Celery runs, and one thread in which deliveries take turns."""

import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from celery.concurrency import thread

from delivery.open_files import allow_open_files, files_allowed
from delivery.publish import TASK
from delivery.turns import Turns

if TYPE_CHECKING:  # Celery makes its pool before Django is set up
    from delivery.fan_outs import FanOuts
    from delivery.pipeline import Pipeline


logger = logging.getLogger(__name__)

_FOR_DELIVERIES = 4
"""Threads for deliveries that Celery runs, most of which ended dead and are stored as failures. Until then they count
against their partner's cap, so they must not wait for maintenance tasks, which may hang on a mail server or on
PostgreSQL."""
_FOR_MAINTENANCE = 8
"""Threads for the maintenance tasks, one for each: no task runs twice at the same time. Each thread may open a
connection to PostgreSQL."""
_SOCKETS = 6
"""A request has at most so many: libcurl tries several addresses of a host at the same time if they do not answer."""
_OTHER_FILES = 1000
"""Files that a worker has open beside its requests: idle connections to endpoints, connections to servers, pipes."""


class WorkerExecutor(ThreadPoolExecutor):
    """The threads for deliveries. It owns those for maintenance and the thread of `turns`, too."""

    def __init__(self, limit: int) -> None:
        super().__init__(_FOR_DELIVERIES, "celery-deliveries")
        self.maintenance = ThreadPoolExecutor(_FOR_MAINTENANCE, "celery-maintenance")
        self.turns = Turns("deliveries", helpers=limit)
        self.turns.start()
        self.pipeline: Pipeline | None = None
        self.fan_outs: FanOuts | None = None
        """Both are made by delivery.strategy when the worker connects to the broker."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Runs Celery's tracer. The first of its arguments is the task's name."""
        _, (name, *_), *_ = args
        submit = super().submit if name == TASK else self.maintenance.submit
        return submit(fn, *args, **kwargs)

    @property
    def begun(self) -> Collection[Any]:
        """The delivery tags of messages that are being processed without Celery's knowledge."""
        deliveries = [] if self.pipeline is None else [one.tag for one in tuple(self.pipeline.begun)]
        return deliveries + ([] if self.fan_outs is None else [one.tag for one in tuple(self.fan_outs.begun)])

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.turns.refuse()
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.maintenance.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self.turns.stop()


class TaskPool(thread.TaskPool):
    """Celery's pool. `limit` is how many messages the worker may have at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.executor = WorkerExecutor(self.limit)


def places(wanted: int) -> int:
    """How many messages a worker may have at once: `wanted`, or fewer if it may not open enough files. Otherwise one
    partner's hanging requests would take all files, and those of others would fail."""
    allow_open_files(wanted * _SOCKETS + _OTHER_FILES)
    allowed = files_allowed()
    fitting = int(min(wanted, max(allowed - _OTHER_FILES, allowed / 4)))
    if fitting < wanted:
        logger.warning("makes fewer deliveries at once than WORKER_CONCURRENCY", extra={"at_once": fitting})
    return fitting
