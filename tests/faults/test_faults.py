"""Every part is killed or stopped under load; nothing is lost, and only what was in flight comes twice."""

import signal
from collections.abc import Iterator

import pytest

from tests.faults.run import count_after
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(400)]

THREADS = 16
"""Of a worker: what it can have in flight."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    env = {"WORKER_CONCURRENCY": str(THREADS), "LOG_LEVEL": "WARNING"}
    with System(tmp_path_factory.mktemp("system"), env=env, durable=True) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture(autouse=True)
def _running(system: System, receiver: Receiver) -> Iterator[None]:
    url = receiver.url("/slow?s=0.01")
    system.seed([{"name": "Awesome Reviews", "subscriptions": [{"url": url, "event_types": ["orders.*"]}]}])
    system.start("bridge", "beat", "worker-1", "worker-2")
    yield
    for name in list(system.processes):
        system.stop(name)
    system.forget()


@pytest.mark.long
def test_a_killed_worker(system: System, receiver: Receiver) -> None:
    count = count_after(system, receiver, lambda: system.kill("worker-1"))
    assert count.repeated <= THREADS


def test_all_workers_killed(system: System, receiver: Receiver) -> None:
    def disturb() -> None:
        system.kill("worker-1")
        system.kill("worker-2")
        system.start("worker-3")

    assert count_after(system, receiver, disturb).repeated <= 2 * THREADS


@pytest.mark.long
def test_a_killed_bridge(system: System, receiver: Receiver) -> None:
    def disturb() -> None:
        system.kill("bridge")
        system.start("bridge")

    assert count_after(system, receiver, disturb).repeated == 0


@pytest.mark.long
def test_a_killed_beat(system: System, receiver: Receiver) -> None:
    def disturb() -> None:
        system.kill("beat")
        system.start("beat")

    assert count_after(system, receiver, disturb).repeated == 0


@pytest.mark.parametrize(
    "name", [pytest.param("bridge", marks=pytest.mark.long), "worker-1", pytest.param("beat", marks=pytest.mark.long)]
)
def test_sigterm_under_load_ends_it_in_order(system: System, receiver: Receiver, name: str) -> None:
    def disturb() -> None:
        process = system.processes.pop(name)
        process.signal(signal.SIGTERM)
        process.wait(20)
        system.start(name)

    assert count_after(system, receiver, disturb).repeated == 0


def test_valkey_killed_and_started_from_its_append_only_file(system: System, receiver: Receiver) -> None:
    def disturb() -> None:
        system.stack.valkey.kill()
        system.stack.valkey.start()

    assert count_after(system, receiver, disturb).repeated <= 2 * THREADS


@pytest.mark.long
def test_valkey_killed_and_started_empty(system: System, receiver: Receiver) -> None:
    def disturb() -> None:
        system.stack.valkey.kill()
        system.stack.valkey.wipe()
        system.stack.valkey.start()

    assert count_after(system, receiver, disturb).repeated <= 2 * THREADS


def test_postgresql_killed(system: System, receiver: Receiver) -> None:
    def disturb() -> None:
        system.stack.postgres.kill()
        system.stack.postgres.start()

    assert count_after(system, receiver, disturb).repeated <= 2 * THREADS


@pytest.mark.long
def test_nats_killed(system: System, receiver: Receiver) -> None:
    def disturb() -> None:
        system.stack.nats.kill()
        system.stack.nats.start()

    assert count_after(system, receiver, disturb).repeated == 0
