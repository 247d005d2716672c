"""The network between our processes and a server is cut, held or slowed."""

import urllib.error
import urllib.request

import pytest

from tests.faults.run import IN_FLIGHT, Stream, count_after
from tests.faults.servers import start_web
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
def test_a_web_thread_gives_up_on_a_server_that_has_vanished(system: System) -> None:
    start_web(system)
    assert status_of(system, "/api/v1/partner") == 401
    system.wires["postgres"].hold()
    assert status_of(system, "/api/v1/partner") == 503
    system.wires["postgres"].mend()
    assert status_of(system, "/api/v1/partner") == 401


def status_of(system: System, path: str) -> int:
    """Of the answer to a caller with an unknown key, for which PostgreSQL is asked."""
    request = urllib.request.Request(f"http://127.0.0.1:{system.web_port}{path}")
    request.add_header("Authorization", "Bearer rk_unknown")
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.long
@pytest.mark.parametrize("server", SERVERS)
def test_a_slow_network(system: System, receiver: Receiver, server: str) -> None:
    def disturb(stream: Stream) -> None:
        with calm(system):
            system.wires[server].slow(0.3)
            stream.flow_on(800)
            system.wires[server].mend()

    assert count_after(system, receiver, disturb).repeated == 0
