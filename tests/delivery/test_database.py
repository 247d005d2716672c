"""While a delivery waits for PostgreSQL the others go on, on few connections."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import NotSupportedError, OperationalError, ProgrammingError, connection

from delivery.database import (
    OwnConnection,
    bulk_cursor,
    in_database,
    with_lasting_connection,
    with_living_connection,
)
from delivery.passing import is_passing
from delivery.turns import Turns
from tests.proxy import Proxy
from tests.turns import start

pytestmark = [pytest.mark.django_db, pytest.mark.servers]


@pytest.fixture
def own() -> Iterator[OwnConnection]:
    own = OwnConnection()
    yield own
    own.close()


def test_all_tasks_share_two_threads_for_djangos_connections(turns: Turns) -> None:
    def ask() -> int:
        time.sleep(0.001)
        connection.close()
        return threading.get_ident()

    asked = [start(turns, in_database, ask) for _ in range(50)]
    threads = {one.result(30) for one in asked}
    assert len(threads) == 2
    assert threading.get_ident() not in threads


def test_a_task_that_waits_for_its_own_connection_lets_the_others_go_on(turns: Turns, own: OwnConnection) -> None:
    other = OwnConnection()
    start(turns, other, "SELECT pg_advisory_lock(%s)", [7]).result(30)
    waiting = start(turns, own, "SELECT 'mine' FROM pg_advisory_lock(%s)", [7])
    assert start(turns, lambda: "went on").result(30) == "went on"
    assert not waiting.done()
    start(turns, other, "SELECT pg_advisory_unlock(%s)", [7]).result(30)
    assert waiting.result(30) == [("mine",)]
    other.close()


def test_large_results_and_large_parameters_are_complete(turns: Turns, own: OwnConnection) -> None:
    texts = [f"{number}" * 1000 for number in range(3000)]
    rows = start(turns, own, "SELECT unnest(%b::text[])", [texts]).result(60)
    assert [row[0] for row in rows] == texts
    assert own("SELECT 1", []) == [(1,)], "in a plain thread too"


def test_times_are_as_django_gives_them(turns: Turns, own: OwnConnection) -> None:
    rows = start(turns, own, "SELECT '2026-11-23 08:00+02'::timestamptz", []).result(30)
    assert rows[0][0].isoformat() == "2026-11-23T06:00:00+00:00"


def test_a_broken_connection_is_a_temporary_error_and_the_next_call_gets_a_new_one(
    turns: Turns, own: OwnConnection
) -> None:
    with pytest.raises(OperationalError) as broken:
        start(turns, own, "SELECT pg_terminate_backend(pg_backend_pid())", []).result(30)
    assert is_passing(broken.value)
    assert start(turns, own, "SELECT 1", []).result(30) == [(1,)]


@pytest.mark.parametrize("in_a_task", [True, False])
def test_a_missing_answer_is_a_temporary_error_and_the_next_call_gets_a_new_connection(
    turns: Turns, postgres_wire: Proxy, in_a_task: bool
) -> None:
    own = OwnConnection(longest_wait_s=0.5)

    def ask() -> list[tuple[int]]:
        return start(turns, own, "SELECT 1", []).result(10) if in_a_task else own("SELECT 1", [])

    assert ask() == [(1,)]
    postgres_wire.strand()
    with pytest.raises(OperationalError, match="has not answered") as silent:
        ask()
    assert is_passing(silent.value)
    assert ask() == [(1,)]
    own.close()


def test_a_statement_that_was_given_up_ends_in_the_server_too(own: OwnConnection) -> None:
    assert own("SHOW client_connection_check_interval", []) == [("10s",)]


@pytest.mark.parametrize("lasting", [True, False])
def test_djangos_connection_of_a_thread_that_delivers_gives_up_as_well(postgres_wire: Proxy, lasting: bool) -> None:
    wrap = with_lasting_connection if lasting else with_living_connection

    def ask() -> None:
        with bulk_cursor() as cursor:
            cursor.execute("SELECT 1")

    def ask_in_vain() -> None:
        connection.connection.longest_wait_s = 0.5
        postgres_wire.strand()
        ask()

    def work() -> None:
        try:
            with pytest.raises(OperationalError, match="has not answered"):
                wrap(ask_in_vain)()
            wrap(ask)()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        threads.submit(work).result(30)


def test_a_mistake_is_not_a_temporary_error(turns: Turns, own: OwnConnection) -> None:
    with pytest.raises(ProgrammingError) as mistake:
        start(turns, own, "SELECT nothing", []).result(30)
    assert not is_passing(mistake.value)


def test_a_plan_that_a_migration_made_useless_is_a_temporary_error_and_the_next_call_makes_a_new_one(
    own: OwnConnection,
) -> None:
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as migrating:
        migrating.execute("CREATE TABLE migrated (name varchar(5))")
        try:
            for _ in range(5):
                assert own("SELECT name FROM migrated", []) == []
            migrating.execute("ALTER TABLE migrated ALTER name TYPE varchar(6)")
            with pytest.raises(NotSupportedError) as useless:
                own("SELECT name FROM migrated", [])
            assert is_passing(useless.value)
            assert own("SELECT name FROM migrated", []) == []
        finally:
            migrating.execute("DROP TABLE migrated")


def test_a_statement_is_planned_once_also_where_the_table_has_statistics(own: OwnConnection) -> None:
    for _ in range(20):
        own("SELECT proname FROM pg_proc WHERE oid = ANY(%b::int[])", [[1]])
    plans = own("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE %s", ["%pg_proc%"])
    assert plans == [(17, 0)], "after it was prepared"
