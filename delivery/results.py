"""Where Celery keeps results: in PostgreSQL by django-celery-results, but only ends."""

import logging
from functools import partial
from typing import Any

from django_celery_results.backends import DatabaseBackend

from delivery.database import in_database
from delivery.passing import is_passing
from partners.trouble import Trouble

_trouble = Trouble(logging.getLogger(__name__), "results are not stored")


class FailuresBackend(DatabaseBackend):  # type: ignore[misc]  # the package is untyped
    """Stores failures and the results of maintenance tasks. A retry is no result: its attempt row tells all of it."""

    def mark_as_retry(self, *args: Any, **kwargs: Any) -> None:
        """Writes nothing."""

    def _store_result(self, *args: Any, **kwargs: Any) -> Any:
        """PostgreSQL away: nothing is stored; what became of a delivery is in its own rows."""
        try:
            stored = in_database(partial(super()._store_result, *args, **kwargs))
        except Exception as error:
            if not is_passing(error):
                raise
            _trouble.met(error)
            return None
        _trouble.over()
        return stored
