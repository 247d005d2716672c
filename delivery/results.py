"""Celery's result backend: django-celery-results in PostgreSQL, without retries."""

import logging
from functools import partial
from typing import Any

from django_celery_results.backends import DatabaseBackend

from delivery.database import in_database
from delivery.passing import is_passing
from partners.trouble import Trouble

_trouble = Trouble(logging.getLogger(__name__), "task results are not stored")


class FailuresBackend(DatabaseBackend):  # type: ignore[misc]  # the package is untyped
    """Stores failed tasks, such as dead deliveries. Of those that succeed, only tasks with `ignore_result=False`."""

    def mark_as_retry(self, *args: Any, **kwargs: Any) -> None:
        """Stores nothing: the attempt's row has it all."""

    def _store_result(self, *args: Any, **kwargs: Any) -> Any:
        """Stores nothing while PostgreSQL is away: a delivery's own rows say how it ended."""
        try:
            stored = in_database(partial(super()._store_result, *args, **kwargs))
        except Exception as error:
            if not is_passing(error):
                raise
            _trouble.met(error)
            return None
        _trouble.over()
        return stored
