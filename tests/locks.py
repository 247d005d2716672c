"""Locks that another connection holds in PostgreSQL."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import connection


@contextmanager
def locked(statement: str, values: Sequence[str] = (), *, commits: bool = False) -> Iterator[None]:
    """Runs the statement in another connection's transaction, whose locks are held until the block ends.

    Then it is rolled back, unless it `commits`.
    """
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(statement, values)
        yield
        if commits:
            other.commit()
        else:
            other.rollback()
    finally:
        other.close()


def somebody_waits() -> bool:
    """Whether any connection waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None
