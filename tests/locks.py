"""Somebody else who locks something in PostgreSQL."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection


@contextmanager
def locked(statement: str, values: Sequence[str] = ()) -> Iterator[None]:
    """What this statement locks, in another connection's transaction, stays locked inside."""
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(statement, values)
        yield
        other.rollback()
    finally:
        other.close()


def somebody_waits() -> bool:
    """For a lock that another holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None
