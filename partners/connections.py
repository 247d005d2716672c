"""A connection to PostgreSQL that gives up on a server of which nothing comes any more.

TCP notices a peer that acknowledges nothing. A proxy between us and the server goes on acknowledging when what is
behind it has vanished, and psycopg would wait for the answer for ever.
"""

from typing import Any

import psycopg
from django.db import connection
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

LONGEST_WAIT_S = 30.0
"""For what is asked again and again, and takes milliseconds."""


class BoundedConnection(psycopg.Connection[Any]):
    """An answer that does not come in `longest_wait_s` closes it, and is an OperationalError."""

    longest_wait_s = LONGEST_WAIT_S

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None:  # somebody looks after that one
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.longest_wait_s)
        except _WaitTimeout:
            raise self._given_up() from None

    def _given_up(self) -> psycopg.OperationalError:
        self.close()
        return psycopg.OperationalError(f"PostgreSQL has not answered for {self.longest_wait_s:g} s")


def bound_connection(longest_wait_s: float = LONGEST_WAIT_S) -> None:
    """Makes Django's connection of this thread such a one. Raises django.db.Error when there is none."""
    connection.ensure_connection()
    made = connection.connection
    if not isinstance(made, BoundedConnection):
        made.__class__ = BoundedConnection  # Django cannot be told which class to make
        made.longest_wait_s = longest_wait_s
        with connection.wrap_database_errors:
            made.execute(END_WITH_CLIENT)


END_WITH_CLIENT = "SET client_connection_check_interval = '10s'"
"""So that statements which were given up do not pile up in the server, waiting for a lock say."""
