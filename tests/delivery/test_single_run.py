"""A maintenance task runs once at a time, however its runs end."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from celery.exceptions import Ignore
from django.db import connection

from delivery.maintenance import roll_up, watch_failing
from delivery.single_run import UnderWay, single_run
from tests.delivery.broker.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.servers]


@contextmanager
def another_run(name: str) -> Iterator[int]:
    """Makes a run in another thread, so in another session; yields the process id of its session."""
    has_begun, may_end = threading.Event(), threading.Event()
    session = 0

    def run() -> None:
        nonlocal session
        try:
            with single_run(name):
                session = connection.connection.info.backend_pid
                has_begun.set()
                may_end.wait(60)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run)
        try:
            assert has_begun.wait(10)
            yield session
        finally:
            may_end.set()
        running.result(10)


def begins(name: str) -> bool:
    try:
        with single_run(name):
            return True
    except UnderWay:
        return False


def test_a_task_whose_last_run_has_not_ended_does_nothing() -> None:
    with another_run("maintenance.roll_up"):
        with pytest.raises(Ignore):
            roll_up()
        assert watch_failing() == {"changed": 0, "told": 0, "disabled": 0, "tried": 0}
    assert roll_up() == 0


def test_a_run_that_raises_has_ended() -> None:
    with pytest.raises(ValueError, match="a mistake"), single_run("one"):
        raise ValueError("a mistake")
    with another_run("one"):
        assert not begins("one")


def test_a_run_whose_session_is_gone_is_alone_no_more() -> None:
    with another_run("one") as session:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [session])
        until(lambda: begins("one"), "the lock is free")


def test_what_a_run_sets_ends_with_it() -> None:
    def settings() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('lock_timeout'), current_setting('idle_session_timeout')")
            return list(cursor.fetchone())

    before = settings()
    with single_run("one"):
        assert settings() == ["10s", "10min"]
    assert settings() == before
