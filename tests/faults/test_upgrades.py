"""Old and new processes side by side: a rolling restart repeats nothing, and a message of a newer release waits."""

import signal

import pytest

from delivery import publish
from delivery.broker import FairMessage, FairQueues
from tests.faults.run import Stream, count_after
from tests.flow.system import System
from tests.receiver import Receiver

pytestmark = [pytest.mark.servers, pytest.mark.flow, pytest.mark.timeout(400)]


@pytest.mark.long
def test_processes_are_replaced_one_by_one_under_load(system: System, receiver: Receiver) -> None:
    def replace(old: str, new: str) -> None:
        system.start(new)
        process = system.processes.pop(old)
        process.signal(signal.SIGTERM)
        assert process.wait(60) == 0, system.log_end()

    def disturb(stream: Stream) -> None:
        for old, new in (("worker-1", "worker-3"), ("worker-2", "worker-4"), ("worker-3", "worker-5")):
            replace(old, new)
            stream.flow_on(200)
        for name in ("bridge", "beat"):
            process = system.processes.pop(name)
            process.signal(signal.SIGTERM)
            assert process.wait(60) == 0, system.log_end()
            system.start(name)
            stream.flow_on(200)

    assert count_after(system, receiver, disturb).repeated == 0


def test_a_message_of_a_newer_release_is_parked_and_what_is_known_goes_on(system: System, receiver: Receiver) -> None:
    [(partner_id,)] = system.query("SELECT id FROM partners_partner")
    queue, queues = publish.queue_of(partner_id), FairQueues(system.valkey)
    newer = FairMessage(
        queue, "dlv_newer:1", publish.TASK, args=({"of": "another form"},), headers={"message_version": 2}
    )
    queues.publish([newer])

    system.wait_until(lambda: queues.stats([queue])[queue].delayed == 1, "the message to be parked")
    system.publish([("orders.created", "known", b"{}")])

    receiver.wait_for(1, timeout_s=60)
    assert queues.missing(queue, ["dlv_newer:1"]) == []
