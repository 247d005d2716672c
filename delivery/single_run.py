"""At most one run at a time of each maintenance task, over all workers.

The run holds an advisory lock of its PostgreSQL session, which is released when the run ends or its process dies,
however long the run takes. A key in Valkey would need an expiry: a short one would let a second run start beside a long
one, and a long one would block the next runs after a run was killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connection

_LOCKS = 5_127_001
"""The first key of our advisory locks, which tells them from those of other programs in the same database."""
_SETTINGS = {
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",  # with the two above: a vanished host is noticed within 25 s, not 2 hours
    "idle_session_timeout": "10min",  # ends the session of a frozen process
    "idle_in_transaction_session_timeout": "10min",
    "lock_timeout": "10s",  # instead of waiting, leave the work to a later run
}


class UnderWay(Exception):  # noqa: N818 - a state
    """Another run of this name has not ended."""


@contextmanager
def single_run(name: str) -> Iterator[None]:
    """Raises UnderWay if another run of this name has not ended; also django.db.Error."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_LOCKS, name])
        if cursor.fetchone() == (False,):
            raise UnderWay
    try:
        _set("; ".join(f"SET {setting} = '{value}'" for setting, value in _SETTINGS.items()))
        yield
    finally:
        _end(name)


def _end(name: str) -> None:
    try:
        _set("; ".join(f"RESET {setting}" for setting in _SETTINGS))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [_LOCKS, name])
    except Error:  # end the session, and so release the lock
        connection.close()


def _set(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)
