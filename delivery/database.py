"""PostgreSQL for the hot path: statements on Django's connections without the cost of its ORM and cursors, and on
connections of our own."""

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
    """A cursor for statements with a whole batch in arrays, in Django's transaction. Raises django.db.Error.

    It sends values separately from the SQL, in binary form. Django's cursors put them into the SQL as text: escaping
    the quotes of JSON documents in an array took 110 µs a document, against 0.4 µs. Write `%b` for an array, with its
    type: `%b::text[]`.
    """
    with (
        connection.cursor(),  # connects if there is no connection
        connection.wrap_database_errors,
        psycopg.Cursor(connection.connection) as cursor,
    ):
        yield cursor


Rows = list[tuple[Any, ...]]
Ask = Callable[[str, Sequence[Any]], Rows]
"""Executes a statement, in its own transaction unless one is open; returns the rows. Raises django.db.Error."""


def ask(sql: str, values: Sequence[Any]) -> Rows:
    """`Ask` through Django's connection."""
    with bulk_cursor() as cursor:
        return cursor.execute(sql, values).fetchall()


def storable(text: str) -> str:
    """The text as PostgreSQL can store it, without NUL and half surrogate pairs."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()


def with_living_connection(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """For threads that run no Django requests: before `work`, closes a connection that is unusable or too old."""

    @wraps(work)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if not connection.in_atomic_block:  # else it is in use
            close_old_connections()
        bound_connection()
        return work(*args, **kwargs)

    return run


_helpers = ThreadPoolExecutor(2, "database")
"""Threads with a connection each. Two, so that one slow statement does not block the others; never more."""


def in_database(work: Callable[..., Result], *arguments: object) -> Result:
    """Runs a function that needs Django's connection, for a task of delivery.turns, which has none; see
    delivery.waits.offload."""
    return offload(with_living_connection(work), *arguments, to=_helpers)


_ONE_PLAN = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    " SET plan_cache_mode = force_generic_plan"
)
"""Forces PostgreSQL to keep plans, because planning a small batch anew takes longer than executing it; with statistics
it would do so by default. A plan is kept for hours, so it must not be one that is best while the tables are empty."""
_PREPARE_AFTER = 3
_BATCH_WAIT_S = 120.0
"""A batch of events that hundreds of subscriptions want takes many seconds, and must not be cancelled and repeated."""


class _Connection(BoundedConnection):
    """A connection that lets the other tasks of its thread go on while it waits for the server."""

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
    """`Ask` on a connection for a few statements that are executed often: PostgreSQL keeps their plans.

    For one task at a time. It connects when it is first called, and again after an error.
    """

    def __init__(self, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._longest_wait_s = longest_wait_s
        self._connection: _Connection | None = None
        self._errors = connection.wrap_database_errors
        """Kept, because Django's `connection` would be another one, new, in each task."""

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
    """For a thread that executes a few statements often, on Django's connection: PostgreSQL keeps their plans.

    An error closes the connection, so that the next call gets a new one.
    """

    @wraps(work)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            bound_connection(_BATCH_WAIT_S)
            if connection.connection.prepare_threshold is None:  # Django's default, so the connection is new
                connection.connection.prepare_threshold = _PREPARE_AFTER
                with connection.wrap_database_errors:
                    connection.connection.execute(_ONE_PLAN)
            return work(*args, **kwargs)
        except Error:
            connection.close()
            raise

    return run
