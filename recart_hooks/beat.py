"""Beat's scheduler: Celery's own, but while Valkey is away it says so in one line, instead of a traceback for each task
that is due."""

import logging
from typing import Any

from celery import Celery
from celery.beat import PersistentScheduler, SchedulingError

from partners.trouble import Trouble

logger = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):
    def __init__(self, app: Celery, **options: Any) -> None:
        self._trouble = Trouble(logger, "tasks cannot be queued")
        super().__init__(app, **options)

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Queues a task; None if it cannot. It is due again after its interval."""
        try:
            queued = super().apply_async(*args, **kwargs)
        except SchedulingError as error:
            self._trouble.met(error)
            return None
        self._trouble.over()
        return queued
