# mypy: disable-error-code="misc"
"""The pool of our Celery workers: deliveries take turns in one thread, all other tasks have threads as in Celery's own.

A task says that it waits only by way of delivery.turns by `takes_turns = True`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from celery.concurrency import thread
from celery.concurrency.base import apply_target

from delivery.turns import Turns


class Executor(ThreadPoolExecutor):
    """Threads, and beside them the turns, which end with them."""

    def __init__(self, limit: int) -> None:
        super().__init__(max_workers=limit)
        self.turns = Turns("deliveries", helpers=limit)
        self.turns.start()

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

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        if getattr(args and self.app.tasks.get(args[0]), "takes_turns", False):
            self.executor.turns.spawn(partial(apply_target, target, args, kwargs, callback, accept_callback))
            return None
        return super().on_apply(target, args, kwargs, callback, accept_callback, **options)
