"""Limits the time of SQL statements whose cost depends on the amount of data."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, OperationalError, connection, transaction
from psycopg.errors import QueryCanceled


class TooSlow(Exception):  # noqa: N818 - a name for what it is
    """A statement took longer than its limit."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """A transaction (or a savepoint) with a limit for each of its statements. Raises TooSlow."""
    try:
        with transaction.atomic():
            _set_timeout(seconds, only_here=True)
            yield
    except OperationalError as error:
        if is_too_slow(error):
            raise TooSlow from error
        raise


def is_too_slow(error: BaseException) -> bool:
    return isinstance(error, TooSlow) or isinstance(error.__cause__, QueryCanceled)


def limit_connection(seconds: float) -> None:
    """Limits each statement on this thread's connection until `free_connection`; it outlives the request."""
    _set_timeout(seconds, only_here=False)


def free_connection() -> None:
    """Removes the limit for the next request on this connection, perhaps one for the admin."""
    if connection.connection is None:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
    except Error:  # the connection is broken: the next request opens a new one
        connection.close()


def _set_timeout(seconds: float, *, only_here: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, %s)", [str(int(seconds * 1000)), only_here])
