# mypy: disable-error-code="misc"
"""The pool of our Celery workers: Celery's threads, and beside them the one thread in which deliveries take turns."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from celery.concurrency import thread

from delivery.turns import Turns

if TYPE_CHECKING:  # Celery makes its pool before Django is set up
    from delivery.pipeline import Pipeline


class Executor(ThreadPoolExecutor):
    """Threads, and beside them the turns, which end with them."""

    def __init__(self, limit: int) -> None:
        super().__init__(max_workers=limit)
        self.turns = Turns("deliveries", helpers=limit)
        self.turns.start()
        self.pipeline: Pipeline | None = None
        """Of the deliveries, once there are some; see delivery.strategy."""

    @property
    def begun(self) -> Collection[Any]:
        """The delivery tags of what is not a task of Celery's and must be brought to its end."""
        return () if self.pipeline is None else [told.tag for told in tuple(self.pipeline.begun)]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.turns.refuse()
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self.turns.stop()


class TaskPool(thread.TaskPool):
    """`limit` is how many tasks run at once: so many messages are fetched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.executor = Executor(self.limit)
