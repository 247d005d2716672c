# mypy: disable-error-code="misc"
"""The pool of our Celery workers: Celery's threads, some for deliveries and some for maintenance, and beside them the
one thread in which deliveries take turns."""

import logging
import resource
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from celery.concurrency import thread

from delivery.publish import TASK
from delivery.turns import Turns

if TYPE_CHECKING:  # Celery makes its pool before Django is set up
    from delivery.pipeline import Pipeline


logger = logging.getLogger(__name__)

_FOR_DELIVERIES = 4
"""Threads for deliveries that Celery runs, most of them to tell that they ended dead. They keep a place under their
partner's cap until then, so they never wait behind maintenance, which may hang on a mail server or on PostgreSQL."""
_FOR_MAINTENANCE = 8
"""As many as there are maintenance tasks, of which each runs once at a time. Each thread may open a connection to
PostgreSQL."""
_FILES_BESIDE = 1000
"""Open in a worker beside its requests: connections that are kept for the next one, those to the servers, pipes."""


class WorkerExecutor(ThreadPoolExecutor):
    """Threads, beside them those of maintenance and the turns, which end with them."""

    def __init__(self, limit: int) -> None:
        super().__init__(_FOR_DELIVERIES, "celery-deliveries")
        self.maintenance = ThreadPoolExecutor(_FOR_MAINTENANCE, "celery-maintenance")
        self.turns = Turns("deliveries", helpers=limit)
        self.turns.start()
        self.pipeline: Pipeline | None = None
        """Of the deliveries, once there are some; see delivery.strategy."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Celery's tracer with its arguments, of which the first is the task's name."""
        _, (name, *_), *_ = args
        submit = super().submit if name == TASK else self.maintenance.submit
        return submit(fn, *args, **kwargs)

    @property
    def begun(self) -> Collection[Any]:
        """The delivery tags of what is not a task of Celery's and must be brought to its end."""
        return () if self.pipeline is None else [message.tag for message in tuple(self.pipeline.begun)]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.turns.refuse()
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.maintenance.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self.turns.stop()


class TaskPool(thread.TaskPool):
    """`limit` is how many tasks run at once: so many messages are fetched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allow_open_files(self.limit + _FILES_BESIDE)
        self.executor = WorkerExecutor(self.limit)


def allow_open_files(count: int) -> None:
    """Raises this process' own limit where it may: often that is 1,024, and 256 on macOS. A request for which no socket
    is left would look like an endpoint that refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if allowed < count:
        logger.warning("too few open files allowed for WORKER_CONCURRENCY", extra={"allowed": hard, "wanted": count})
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    except (OSError, ValueError) as error:  # macOS has one more limit, beside one that says there is none
        logger.warning("the limit of open files stays", extra={"allowed": soft, "error": str(error)})
