"""Memory does not grow: after two waves of events and failures, two more need no more memory."""

import psutil
import pytest

from tests import behaviours
from tests.faults.run import Stream, counted
from tests.faults.servers import start_web
from tests.flow.system import System
from tests.receiver import Receiver

WARM, MORE = 2, 2
EVENTS = 2_000
MOST_GROWTH_MB = 8
"""For each process, by the waves after the warm-up: 4,000 events and 400 retries."""

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(600)]


def test_waves_of_events_leave_every_process_as_big_as_it_was(system: System, receiver: Receiver) -> None:
    start_web(system)
    receiver.answer("/slow", lambda exchange: behaviours.fail_every(exchange, 10))
    stream, sizes = Stream(system, per_s=1_000), []
    for _ in range(WARM + MORE):
        with stream.flowing():
            stream.flow_on(EVENTS)
            system.wires["valkey"].cut()
            stream.flow_on(100)
            system.wires["valkey"].mend()
        counted(system, receiver, stream.published, timeout_s=120)
        sizes.append(megabytes(system))
    first, last = sizes[WARM - 1], sizes[-1]
    grown = {name: last[name] - first[name] for name in first if last[name] - first[name] > MOST_GROWTH_MB}
    assert grown == {}, sizes


def megabytes(system: System) -> dict[str, int]:
    """Resident memory of each process and server with its children, without PostgreSQL, whose buffers fill up."""
    roots = {name: process.pid for name, process in system.processes.items()}
    roots |= {server.name: server.pid for server in system.stack.servers if server.name != "postgres"}
    found = {}
    for name, pid in roots.items():
        root = psutil.Process(pid)
        found[name] = sum(one.memory_info().rss for one in (root, *root.children(recursive=True))) // 2**20
    found["valkey's data"] = int(system.valkey.info("memory")["used_memory"]) // 2**20
    return found
