"""One system for all fault tests; a receiver, a partner and running processes for each test."""

from collections.abc import Iterator

import pytest

from tests.faults.run import IN_FLIGHT
from tests.flow.system import System
from tests.receiver import Receiver


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    env = {"WORKER_CONCURRENCY": str(IN_FLIGHT), "LOG_LEVEL": "WARNING", "WEB_PROCESSES": "1"}
    with System(tmp_path_factory.mktemp("system"), env=env, durable=True, is_wired=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _running(system: System, receiver: Receiver) -> Iterator[None]:
    url = receiver.url("/slow?s=0.01")
    system.seed([{"name": "Awesome Reviews", "subscriptions": [{"url": url, "event_types": ["orders.*"]}]}])
    system.start("bridge", "beat", "worker-1", "worker-2")
    yield
    for wire in system.wires.values():
        wire.mend()
    system.stop_all()
    system.forget()
