"""One run at a time of what beat starts, over all workers.

The lock is one of PostgreSQL's that belong to a session, here that of the run: it is free as soon as the run ends or
its process dies, however long a run takes. A key in Valkey would have to lapse: early, and a long run is not alone any
more; late, and a run that was killed keeps the next ones waiting.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connection

_LOCKS = 5_127_001
"""Advisory locks have numbers; this one tells ours from those of others who use the database."""
_SETTINGS = {
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",  # with the two above: a host that vanished is noticed within 25 s, not 2 hours
    "idle_session_timeout": "10min",  # of a process that is frozen
    "idle_in_transaction_session_timeout": "10min",
    "lock_timeout": "10s",  # a later run tries again
}


class UnderWay(Exception):  # noqa: N818 - a state
    """Another run has not ended."""


@contextmanager
def single_run(name: str) -> Iterator[None]:
    """Raises UnderWay where another run of this name is, and django.db.Error."""
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
    except Error:  # the session is not to be used any more: its end is that of the lock
        connection.close()


def _set(statements: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statements)
