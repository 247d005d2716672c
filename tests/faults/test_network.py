"""The network between our processes and a server is cut, held or slowed."""

import pytest

from tests.faults.run import IN_FLIGHT, Stream, count_after
from tests.faults.watch import calm
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(400)]

SERVERS = ["postgres", "valkey", "nats"]


@pytest.mark.long
@pytest.mark.parametrize("server", SERVERS)
def test_a_cut_network(system: System, receiver: Receiver, server: str) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            system.wires[server].cut()
            stream.flow_on(800)
            system.wires[server].mend()

    assert count_after(system, receiver, disturb).repeated <= (2 * IN_FLIGHT if server == "valkey" else 0)


@pytest.mark.long
@pytest.mark.parametrize("server", SERVERS)
def test_a_pulled_cable(system: System, receiver: Receiver, server: str) -> None:
    """Nothing signals that the connection is dead; data under way arrives later."""

    def disturb(stream: Stream) -> None:
        with calm(system):
            system.wires[server].hold()
            stream.flow_on(1500)
            system.wires[server].mend()

    assert count_after(system, receiver, disturb).repeated <= (2 * IN_FLIGHT if server == "valkey" else 0)


@pytest.mark.long
@pytest.mark.parametrize("server", SERVERS)
def test_a_slow_network(system: System, receiver: Receiver, server: str) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            system.wires[server].slow(0.3)
            stream.flow_on(800)
            system.wires[server].mend()

    assert count_after(system, receiver, disturb).repeated == 0
