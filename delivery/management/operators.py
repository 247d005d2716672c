"""The base class of the commands for operators."""

from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError

from delivery.passing import is_away


class OperatorCommand(BaseCommand):
    """Says in a line, not a traceback, that a server is away."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Exception as error:
            if not is_away(error):
                raise
            server = "Valkey" if isinstance(error, redis.RedisError) else "PostgreSQL"
            raise CommandError(f"{server} cannot do this now: {str(error).strip()}") from error
