"""A rolling restart, with old and new processes side by side, repeats no request."""

import pytest

from tests.faults.run import Stream, count_after
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(400)]


def test_processes_are_replaced_one_by_one_under_load(system: System, receiver: Receiver) -> None:
    def disturb(stream: Stream) -> None:
        for old, new in (("worker-1", "worker-3"), ("worker-2", "worker-4"), ("worker-3", "worker-5")):
            system.start(new)
            assert system.stop(old) == 0, system.log_end()
            stream.flow_on(200)
        for name in ("bridge", "beat"):
            system.replace(name)
            stream.flow_on(200)

    assert count_after(system, receiver, disturb).repeated == 0
