"""Bridge, workers, beat and servers are killed or stopped under load: only requests in flight are repeated."""

import pytest

from tests.faults.run import IN_FLIGHT, Stream, count_after
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(400)]


def test_a_killed_worker(system: System, receiver: Receiver) -> None:
    count = count_after(system, receiver, lambda _: system.kill("worker-1"))
    assert count.repeated <= IN_FLIGHT


def test_all_workers_killed(system: System, receiver: Receiver) -> None:
    def disturb(_: Stream) -> None:
        system.kill("worker-1")
        system.kill("worker-2")
        system.start("worker-3")

    assert count_after(system, receiver, disturb).repeated <= 2 * IN_FLIGHT


def test_a_killed_bridge(system: System, receiver: Receiver) -> None:
    def disturb(_: Stream) -> None:
        system.kill("bridge")
        system.start("bridge")

    assert count_after(system, receiver, disturb).repeated == 0


def test_a_killed_beat(system: System, receiver: Receiver) -> None:
    def disturb(_: Stream) -> None:
        system.kill("beat")
        system.start("beat")

    assert count_after(system, receiver, disturb).repeated == 0


@pytest.mark.parametrize("name", ["bridge", "worker-1", "beat"])
def test_sigterm_under_load_ends_it_in_order(system: System, receiver: Receiver, name: str) -> None:
    assert count_after(system, receiver, lambda _: system.replace(name)).repeated == 0


def test_valkey_killed_and_started_from_its_append_only_file(system: System, receiver: Receiver) -> None:
    def disturb(_: Stream) -> None:
        system.stack.valkey.kill()
        system.stack.valkey.start()

    assert count_after(system, receiver, disturb).repeated <= 2 * IN_FLIGHT


def test_valkey_killed_and_started_empty(system: System, receiver: Receiver) -> None:
    def disturb(_: Stream) -> None:
        system.stack.valkey.kill()
        system.stack.valkey.wipe()
        system.stack.valkey.start()

    assert count_after(system, receiver, disturb).repeated <= 2 * IN_FLIGHT


def test_postgresql_killed(system: System, receiver: Receiver) -> None:
    def disturb(_: Stream) -> None:
        system.stack.postgres.kill()
        system.stack.postgres.start()

    assert count_after(system, receiver, disturb).repeated <= 2 * IN_FLIGHT


def test_nats_killed(system: System, receiver: Receiver) -> None:
    def disturb(_: Stream) -> None:
        system.stack.nats.kill()
        system.stack.nats.start()

    assert count_after(system, receiver, disturb).repeated == 0
