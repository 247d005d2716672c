"""A bound on what a query may cost, for questions whose price depends on how much there is to look through."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, OperationalError, connection, transaction
from psycopg.errors import QueryCanceled


class TooSlow(Exception):  # noqa: N818 - a name for what it is
    """PostgreSQL would have taken longer than it may."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """A transaction (or a part of one) of which no statement takes longer. Raises TooSlow."""
    try:
        with transaction.atomic():
            limit_query_time(seconds)
            yield
    except OperationalError as error:
        if is_too_slow(error):
            raise TooSlow from error
        raise


def limit_query_time(seconds: float) -> None:
    """For the rest of this transaction; what takes longer raises OperationalError caused by QueryCanceled."""
    _set_timeout(seconds, only_here=True)


def is_too_slow(error: BaseException) -> bool:
    return isinstance(error, TooSlow) or isinstance(error.__cause__, QueryCanceled)


def limit_connection(seconds: float) -> None:
    """All that this thread's connection is asked, until `free_connection`: the connection outlives the request."""
    _set_timeout(seconds, only_here=False)


def free_connection() -> None:
    """What is asked next, perhaps by a page of the admin, may take its time."""
    if connection.connection is None:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
    except Error:  # it is broken: the next one is a new one
        connection.close()


def _set_timeout(seconds: float, *, only_here: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, %s)", [str(int(seconds * 1000)), only_here])
