"""A connection to PostgreSQL that gives up on a server that does not answer.

TCP notices a peer that acknowledges nothing. A proxy before the server goes on acknowledging when the server has
vanished, and psycopg would wait for the answer for ever.
"""

from typing import Any

import psycopg
from django.db import connection
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout

LONGEST_WAIT_S = 30.0
"""For statements that are sent all the time and take milliseconds."""


class BoundedConnection(psycopg.Connection[Any]):
    """Without an answer in `longest_wait_s` it closes itself and raises OperationalError."""

    longest_wait_s = LONGEST_WAIT_S

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None:  # the caller handles that timeout
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.longest_wait_s)
        except _WaitTimeout:
            raise self._given_up() from None

    def _given_up(self) -> psycopg.OperationalError:
        self.close()
        return psycopg.OperationalError(f"PostgreSQL has not answered for {self.longest_wait_s:g} s")


def bound_connection(longest_wait_s: float = LONGEST_WAIT_S) -> None:
    """Makes Django's connection of this thread a BoundedConnection. Raises django.db.Error if it cannot connect."""
    connection.ensure_connection()
    made = connection.connection
    if not isinstance(made, BoundedConnection):
        made.__class__ = BoundedConnection  # Django has no setting for the class
        made.longest_wait_s = longest_wait_s
        with connection.wrap_database_errors:
            made.execute(END_WITH_CLIENT)


END_WITH_CLIENT = "SET client_connection_check_interval = '10s'"
"""Ends statements that were given up, which could pile up in the server while they wait for a lock."""
