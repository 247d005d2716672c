"""PostgreSQL for the hot path: Django's connection of a thread, without what its ORM and its cursors cost."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.db import Error, close_old_connections, connection
from psycopg.abc import PQGen

from delivery.waits import current_task, offload, wait_for_socket
from partners.connections import END_WITH_CLIENT, LONGEST_WAIT_S, BoundedConnection, bound_connection

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@contextmanager
def bulk_cursor() -> Iterator["psycopg.Cursor[tuple[Any, ...]]"]:
    """For statements that carry a whole batch in arrays; in Django's transaction. Raises django.db.Error.

    The values go to the server beside the SQL, in binary form. Django's cursors write them into the SQL as text: for an
    array of JSON documents, whose quotes are escaped one by one, that took 110 µs a document, against 0.4 µs. Write
    `%b` for an array, with its type: `%b::text[]`.
    """
    with (
        connection.cursor(),  # sees to it that there is a living connection
        connection.wrap_database_errors,
        psycopg.Cursor(connection.connection) as cursor,
    ):
        yield cursor


Rows = list[tuple[Any, ...]]
Ask = Callable[[str, Sequence[Any]], Rows]
"""One statement, which is a transaction unless one is open, and its rows. Raises django.db.Error."""


def ask(sql: str, values: Sequence[Any]) -> Rows:
    """`Ask` through Django's connection."""
    with bulk_cursor() as cursor:
        return cursor.execute(sql, values).fetchall()


def with_living_connection(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """For threads that Django does not know: looks first whether the connection is good, which is a round trip."""

    @wraps(work)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if not connection.in_atomic_block:  # else it is in use
            close_old_connections()
        bound_connection()
        return work(*args, **kwargs)

    return run


_helpers = ThreadPoolExecutor(2, "database")
"""Threads with a connection each: enough that one slow statement is not in the way; a storm opens no more."""


def in_database(work: Callable[..., Result], *arguments: object) -> Result:
    """Runs what uses Django's connection and is asked for by a delivery, which has none; see delivery.waits.offload."""
    return offload(with_living_connection(work), *arguments, to=_helpers)


_ONE_PLAN = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    " SET plan_cache_mode = force_generic_plan"
)
"""A plan is kept for hours; one that was best while the tables were empty must not be among them. And it is kept: left
alone, once it has statistics PostgreSQL plans anew for each small batch, which takes longer than to carry it out."""
_PREPARE_AFTER = 3
_BATCH_WAIT_S = 120.0
"""A batch of events that hundreds of subscriptions want is a statement of many seconds, and must not be begun again and
again."""


class _Connection(BoundedConnection):
    """While it waits for the server, the other tasks of its thread go on."""

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        task = current_task()
        if task is None:
            return super().wait(gen, interval, timeout)
        until = time.monotonic() + self.longest_wait_s
        try:
            wanted = next(gen)
            while True:
                ready = wait_for_socket(task, self.pgconn.socket, wanted, until - time.monotonic())
                if not ready:
                    raise self._given_up()
                wanted = gen.send(ready)
        except StopIteration as ended:
            return ended.value


class OwnConnection:
    """`Ask` on a connection that does the same few statements again and again, so PostgreSQL keeps their plans.

    For one task at a time; opened when it is first needed, and anew after an error.
    """

    def __init__(self, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._longest_wait_s = longest_wait_s
        self._connection: _Connection | None = None
        self._errors = connection.wrap_database_errors
        """Kept: each task that asked Django for its own would be given a connection of its own."""

    def __call__(self, sql: str, values: Sequence[Any]) -> Rows:
        with self._errors:
            try:
                if self._connection is None:
                    self._connection = offload(_connect, connection.get_connection_params(), self._longest_wait_s)
                with psycopg.Cursor(self._connection) as cursor:
                    return cursor.execute(sql, values, binary=True).fetchall()
            except psycopg.Error:
                self.close()
                raise

    def close(self) -> None:
        given_up, self._connection = self._connection, None
        if given_up is not None:
            given_up.close()


def _connect(parameters: Mapping[str, Any], longest_wait_s: float) -> _Connection:
    made = _Connection.connect(**{**parameters, "autocommit": True, "prepare_threshold": _PREPARE_AFTER})
    made.execute("SELECT set_config('TimeZone', %s, false)", [connection.timezone_name])
    made.execute(_ONE_PLAN)
    made.execute(END_WITH_CLIENT)
    made.longest_wait_s = longest_wait_s
    return made


def with_lasting_connection(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """For a thread that does the same few statements again and again on Django's connection: see OwnConnection.

    An error closes the connection, so that the next try gets a new one.
    """

    @wraps(work)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            bound_connection(_BATCH_WAIT_S)
            if connection.connection.prepare_threshold is None:  # Django's default: it is a new one
                connection.connection.prepare_threshold = _PREPARE_AFTER
                with connection.wrap_database_errors:
                    connection.connection.execute(_ONE_PLAN)
            return work(*args, **kwargs)
        except Error:
            connection.close()
            raise

    return run
