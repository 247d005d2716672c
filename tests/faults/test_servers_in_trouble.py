"""Servers that run but refuse or stall: nothing is lost, no process spins, and /readyz names the server."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import nats
import psycopg
import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy

from tests.faults.run import Stream, count_after
from tests.faults.servers import read_only, readyz_says, start_web
from tests.faults.watch import calm
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(autouse=True)
def _web(_running: None, system: System) -> None:
    start_web(system)


def test_valkey_out_of_memory(system: System, receiver: Receiver) -> None:
    def disturb(stream: Stream) -> None:
        # A worker that connects to a full Valkey logs each of its tries.
        system.wait_until(lambda: all(map(system.has_begun, ("worker-1", "worker-2"))), "both workers to fetch")
        with calm(system):
            system.valkey.config_set("maxmemory", "1mb")
            readyz_says(system, "valkey", "maxmemory")
            stream.flow_on(500)
            stored = stream.published
            sql = "SELECT count(*) FROM delivery_event"
            system.wait_until(lambda: system.count(sql) >= stored, "events that are stored all the same")
            system.valkey.config_set("maxmemory", "0")

    try:
        assert count_after(system, receiver, disturb).repeated == 0
    finally:
        system.valkey.config_set("maxmemory", "0")


def test_valkey_asleep_for_longer_than_a_dead_worker_would_be(system: System, receiver: Receiver) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            system.valkey.client_pause(14_000)
            stream.flow_on(1400)

    assert count_after(system, receiver, disturb).repeated == 0


def test_postgresql_read_only(system: System, receiver: Receiver) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system), read_only(system):
            readyz_says(system, "postgresql", "read-only")
            stream.flow_on(300)

    assert count_after(system, receiver, disturb).repeated == 0


def test_no_connection_of_postgresql_is_left(system: System, receiver: Receiver) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system), all_connections_taken(system):
            readyz_says(system, "postgresql", "too many clients")
            stream.flow_on(300)

    assert count_after(system, receiver, disturb).repeated == 0


@contextlib.contextmanager
def all_connections_taken(system: System) -> Iterator[None]:
    """Ends the processes' connections and opens new ones until no slot is left."""
    taken: list[psycopg.Connection[Any]] = []
    with psycopg.connect(system.stack.database_url, autocommit=True) as own:
        for _ in range(3):  # processes reconnect in between
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.append(psycopg.connect(system.stack.database_url, application_name="taken"))
            own.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name <> 'taken' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                taken.append(psycopg.connect(system.stack.database_url, application_name="taken"))
        try:
            yield
        finally:
            for connection in taken:
                connection.close()


@pytest.mark.parametrize("table", ["delivery_delivery", "delivery_event", "partners_subscription"])
def test_a_long_lock_on_a_hot_table(system: System, receiver: Receiver, table: str) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system), psycopg.connect(system.stack.database_url) as connection:
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            stream.flow_on(2200)  # longer than JetStream waits for an acknowledgement

    assert count_after(system, receiver, disturb).repeated == 0


def test_a_full_stream_refuses_and_is_emptied_of_what_was_taken(system: System, receiver: Receiver) -> None:
    """The stream must discard new messages, not old ones, which may not have been taken yet."""

    async def fill(jetstream: JetStreamContext) -> None:
        info = await jetstream.stream_info("EVENTS")
        assert info.config.discard == DiscardPolicy.NEW
        info.config.max_bytes = info.state.bytes + 20_000
        await jetstream.update_stream(info.config)

    async def empty(jetstream: JetStreamContext) -> None:
        taken = await jetstream.consumer_info("EVENTS", "recart-hooks")
        assert taken.ack_floor is not None
        await jetstream.purge_stream("EVENTS", seq=taken.ack_floor.stream_seq + 1)

    async def restore(jetstream: JetStreamContext) -> None:
        info = await jetstream.stream_info("EVENTS")
        info.config.max_bytes = -1
        await jetstream.update_stream(info.config)

    def disturb(stream: Stream) -> None:
        with calm(system):
            in_jetstream(system, fill)
            stream.be_refused(2)
            in_jetstream(system, empty)
            stream.flow_on(100)

    try:
        assert count_after(system, receiver, disturb).repeated == 0
    finally:
        in_jetstream(system, restore)


def test_a_deleted_consumer_is_made_again(system: System, receiver: Receiver) -> None:
    async def delete(jetstream: JetStreamContext) -> None:
        await jetstream.delete_consumer("EVENTS", "recart-hooks")

    def disturb(stream: Stream) -> None:
        with calm(system):
            in_jetstream(system, delete)
            stream.flow_on(200)

    assert count_after(system, receiver, disturb).repeated == 0


def in_jetstream(system: System, work: Callable[[JetStreamContext], Awaitable[None]]) -> None:
    async def run() -> None:
        client = await nats.connect(system.stack.nats_url)
        await work(client.jetstream())
        await client.close()

    asyncio.run(run())
