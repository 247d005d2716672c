"""The base class of the commands for operators."""

import os
import signal
import sys
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError

from delivery.passing import is_away
from partners import audit


class OperatorCommand(BaseCommand):
    """Says in a line, not a traceback, that a server is away. Ends quietly if nobody reads on, such as `head`.

    The audit log names the user of the operating system who runs it.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            with audit.acting(audit.operator()):
                return super().execute(*args, **options)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stdout.fileno())  # or else Python complains when it ends
            sys.exit(128 + signal.SIGPIPE)
        except Exception as error:
            if not is_away(error):
                raise
            server = "Valkey" if isinstance(error, redis.RedisError) else "PostgreSQL"
            raise CommandError(f"{server} cannot do this now: {str(error).strip()}") from error
